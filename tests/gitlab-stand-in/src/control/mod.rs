//! The control API below `/-/stand-in`: for tests and the demo, without any authentication.

mod make;
mod routes;
mod specs;
mod view;

pub(crate) use make::{
    ControlError, add_member, add_project, add_root, add_runner, add_token, add_user, change_settings,
    enqueue_job, plant, start_pipeline,
};
pub(crate) use routes::routes;
pub(crate) use view::{job_view, state_view};
