//! Edge: the GitLab REST client
