//! The listening end: accepts connections, with or without TLS, until told to stop.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::api::{self, App};
use crate::control;
use crate::git;
use crate::intercept::{Connection, intercept};

/// How often the clock's effects are looked for when nobody asks anything.
const TICK: Duration = Duration::from_secs(1);

/// Serves until `stop` is done.
pub(crate) async fn serve(
    listener: TcpListener,
    app: App,
    tls: Option<TlsAcceptor>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = router(&app);
    let mut tick = tokio::time::interval(TICK);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            _ = tick.tick() => drop(app.lock()),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let (router, tls) = (router.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, router).await,
                        // A client that refuses the certificate ends here; that is its business.
                        Some(tls) => if let Ok(stream) = tls.accept(stream).await {
                            answer(stream, router).await;
                        },
                    }
                });
            }
        }
    }
}

fn router(app: &App) -> Router {
    let watched = Router::new()
        .nest("/api/v4", api::routes())
        .fallback(git::serve)
        .layer(from_fn_with_state(app.clone(), intercept));
    watched.nest("/-/stand-in", control::routes()).with_state(app.clone())
}

/// Answers the requests of one connection; ends early if a fault closes it.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let closed = Arc::new(Notify::new());
    let connection = Connection(Arc::clone(&closed));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What goes wrong on a connection is seen by the client.
        _ = served => {}
        () = closed.notified() => {}
    }
}
