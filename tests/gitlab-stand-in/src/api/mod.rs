//! `/api/v4`. Routes are matched on the raw path, so `group%2Fproject` is one segment.

pub(crate) mod artifacts;
mod auth;
mod call;
mod entities;
mod error;
mod groups;
mod job_api;
mod jobs;
mod limit;
mod paging;
mod params;
mod pipelines;
mod repository;
mod runner_api;
mod runner_params;
mod runners;
mod runners_list;
mod users;

pub(crate) use call::{App, MAX_BODY, json_answer, plain_answer};
pub(crate) use error::ApiError;

use axum::Router;
use axum::routing::{delete, get, patch, post, put};

/// All routes below `/api/v4`.
pub(crate) fn routes() -> Router<App> {
    let routes = Router::new()
        .route("/user", get(users::user))
        .route("/version", get(users::version))
        .route("/metadata", get(users::metadata))
        .route("/personal_access_tokens/self", get(users::token))
        .route("/projects", get(groups::projects))
        .route("/projects/{id}", get(groups::project))
        .route("/groups/{id}", get(groups::group))
        .route("/groups/{id}/projects", get(groups::group_projects))
        .route("/projects/{id}/protected_branches", get(groups::protected_branches))
        .route("/projects/{id}/protected_tags", get(groups::protected_tags));
    let routes = routes
        .route("/projects/{id}/jobs", get(jobs::list))
        .route("/projects/{id}/jobs/{job_id}", get(jobs::show))
        .route("/projects/{id}/jobs/{job_id}/trace", get(jobs::trace))
        .route("/projects/{id}/jobs/{job_id}/cancel", post(jobs::cancel))
        .route("/projects/{id}/jobs/{job_id}/retry", post(jobs::retry))
        .route("/projects/{id}/jobs/{job_id}/play", post(jobs::play))
        .route("/projects/{id}/jobs/{job_id}/erase", post(jobs::erase))
        .route("/projects/{id}/jobs/{job_id}/artifacts", get(artifacts::of_project_job))
        .route("/projects/{id}/pipeline", post(pipelines::create))
        .route("/projects/{id}/pipelines", get(pipelines::list))
        .route("/projects/{id}/pipelines/{pipeline_id}", get(pipelines::show))
        .route("/projects/{id}/pipelines/{pipeline_id}/jobs", get(pipelines::jobs))
        .route("/projects/{id}/pipelines/{pipeline_id}/cancel", post(pipelines::cancel))
        .route("/projects/{id}/pipelines/{pipeline_id}/variables", get(pipelines::variables))
        .route("/projects/{id}/pipelines/{pipeline_id}/bridges", get(pipelines::bridges))
        .route("/projects/{id}/repository/commits/{sha}", get(repository::commit))
        .route("/projects/{id}/jobs/artifacts/{reference}/download", get(artifacts::latest));
    let routes = routes
        .route("/user/runners", post(runners::create))
        .route("/runners/all", get(runners_list::all))
        .route("/projects/{id}/runners", get(runners_list::of_project).post(runners::assign))
        .route("/projects/{id}/runners/{runner_id}", delete(runners::unassign))
        .route("/groups/{id}/runners", get(runners_list::of_group))
        .route("/runners/{id}", get(runners::show).put(runners::update).delete(runners::delete))
        .route("/runners/{id}/managers", get(runners::managers))
        .route("/runners/{id}/jobs", get(runners::jobs))
        .route("/runners/{id}/reset_authentication_token", post(runners::reset_token_of));
    routes
        .route(
            "/runners",
            get(runners_list::mine).post(runner_api::register).delete(runner_api::delete_by_token),
        )
        .route("/runners/verify", post(runner_api::verify))
        .route("/runners/managers", delete(runner_api::delete_manager))
        .route("/runners/reset_authentication_token", post(runner_api::reset_own_token))
        .route("/runners/router/discovery", get(runner_api::discovery))
        .route("/jobs/request", post(runner_api::request_job))
        .route("/jobs/{id}", put(job_api::update))
        .route("/jobs/{id}/trace", patch(job_api::append_trace))
        .route("/jobs/{id}/artifacts", get(artifacts::download).post(artifacts::upload))
        .route("/job", get(job_api::current))
        .fallback(users::unknown_route)
}
