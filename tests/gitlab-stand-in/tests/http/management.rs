//! Runners and jobs from a user's side.

use serde_json::{Value, json};

use crate::client::{call, request_job, runner_call, stand_in};

#[test]
fn a_runner_is_made_changed_reset_and_deleted() {
    let server = stand_in();
    let project = server.state()["projects"][0]["id"].clone();
    let token = server.project_token("hpc/solver", &["read_api", "create_runner", "manage_runner"]);
    let new = json!({
        "runner_type": "project_type", "project_id": project, "tag_list": ["b", "a"], "run_untagged": false,
        "description": "one", "maintenance_note": "mine",
    });
    let made = call(&server, &token, "POST", "/user/runners", new);
    assert_eq!(made.status, 201, "{}", made.text);
    let (id, secret) = (made.json()["id"].clone(), made.json()["token"].as_str().unwrap().to_owned());
    assert!(secret.starts_with("glrt-t3_"), "{secret}");

    let listed =
        call(&server, &token, "GET", "/projects/hpc%2Fsolver/runners?tag_list=a,b", json!(null)).json();
    assert_eq!(listed[0]["id"], id);
    assert_eq!(listed[0]["status"], "never_contacted");
    assert!(listed[0].get("tag_list").is_none() && listed[0].get("maintenance_note").is_none());

    let path = format!("/runners/{id}");
    let details = call(&server, &token, "GET", &path, json!(null)).json();
    assert_eq!((&details["tag_list"], &details["maintenance_note"]), (&json!(["a", "b"]), &json!("mine")));
    assert!(details.get("token").is_none(), "a token is shown once");
    let changed = call(&server, &token, "PUT", &path, json!({ "tag_list": "c", "paused": true }));
    assert_eq!((&changed.json()["tag_list"], &changed.json()["active"]), (&json!(["c"]), &json!(false)));
    assert_eq!(call(&server, &token, "PUT", &path, json!({})).status, 400);

    let reset = call(&server, &token, "POST", &format!("{path}/reset_authentication_token"), json!(null));
    assert_eq!(reset.status, 201);
    assert_eq!(request_job(&server, &secret).status, 403, "the old token is dead at once");
    assert_eq!(request_job(&server, reset.json()["token"].as_str().unwrap()).status, 204);

    assert_eq!(call(&server, &token, "DELETE", &path, json!(null)).status, 204);
    assert_eq!(call(&server, &token, "GET", &path, json!(null)).status, 404);
}

#[test]
fn the_rules_of_the_model_are_kept() {
    let server = stand_in();
    let project = server.state()["projects"][0]["id"].clone();
    let check = |fields: Value, expect: &str| {
        let mut new = json!({ "runner_type": "project_type", "project_id": project });
        new.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let refused = call(&server, server.root_token(), "POST", "/user/runners", new);
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains(expect), "{}", refused.text);
    };
    check(json!({ "runner_type": "other" }), "runner_type does not have a valid value");
    check(json!({ "run_untagged": false }), "can not be empty when runner is not allowed");
    let many: Vec<String> = (0..51).map(|number| format!("tag{number}")).collect();
    check(json!({ "tag_list": many }), "Please limit the number of tags to 50");
    check(json!({ "maximum_timeout": 599 }), "needs to be at least 10 minutes");
    check(json!({ "maintenance_note": "x".repeat(1025) }), "maximum is 1024 characters");
}

#[test]
fn tokens_are_held_to_scope_role_and_expiry() {
    let server = stand_in();
    server.add_user("ada");
    let list = |token: &str| call(&server, token, "GET", "/projects/hpc%2Fsolver/jobs", json!(null));
    assert_eq!(list("glpat-wrong").json(), json!({ "message": "401 Unauthorized" }));
    let outsider = server.user_token("ada", &["read_api"]);
    assert_eq!(list(&outsider).json()["message"], "404 Project Not Found");
    let narrow = server.project_token("hpc/solver", &["create_runner"]);
    assert_eq!(
        (list(&narrow).status, list(&narrow).json()["error"].clone()),
        (403, json!("insufficient_scope"))
    );
    let expired = json!({ "project": "hpc/solver", "scopes": ["read_api"], "expires_in": -1 });
    assert_eq!(list(&server.create_token(expired)).json()["error"], "invalid_token");
    let reader = json!({ "project": "hpc/solver", "role": "developer", "scopes": ["api"] });
    let new = json!({ "runner_type": "project_type", "project_id": server.state()["projects"][0]["id"] });
    let refused = call(&server, &server.create_token(reader), "POST", "/user/runners", new);
    assert_eq!(refused.json()["message"], "403 Forbidden - Insufficient permissions");
}

#[test]
fn job_lists_are_newest_first_and_paged_without_a_count() {
    let server = stand_in();
    let ids: Vec<i64> = (0..5).map(|_| server.enqueue("hpc/solver", json!({ "script": ["true"] }))).collect();
    let list = |target: &str| call(&server, server.root_token(), "GET", target, json!(null));
    let seen = |answer: &crate::client::Answer| -> Vec<i64> {
        answer.json().as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect()
    };
    let first = list("/projects/hpc%2Fsolver/jobs?scope=pending&per_page=2");
    assert_eq!(seen(&first), [ids[4], ids[3]]);
    assert_eq!((first.header("x-next-page"), first.header("x-total")), (Some("2"), None));
    assert_eq!(seen(&list(&first.next().unwrap())), [ids[2], ids[1]]);

    let mut page = list("/projects/hpc%2Fsolver/jobs?pagination=keyset&order_by=id&sort=asc&per_page=2");
    let mut all = seen(&page);
    while let Some(next) = page.next() {
        page = list(&next);
        all.extend(seen(&page));
    }
    assert_eq!(all, ids);
    assert_eq!(list("/projects/hpc%2Fsolver/jobs?scope=waiting").status, 400);
}

#[test]
fn contact_is_what_gitlab_counts_as_contact() {
    let server = stand_in();
    let (id, token) = server.add_runner(json!({ "path": "hpc/solver", "tags": ["a"] }));
    let status = || {
        let path = format!("/runners/{id}");
        call(&server, server.root_token(), "GET", &path, json!(null)).json()["status"].clone()
    };
    let body = json!({ "token": token, "system_id": "s_1" });
    assert_eq!(runner_call(&server, "POST", "/runners/verify", body.clone()).status, 200);
    assert_eq!(status(), "never_contacted", "verify does not count for glrt- tokens");
    let unknown = json!({ "token": token, "system_id": "r_none" });
    assert_eq!(runner_call(&server, "DELETE", "/runners/managers", unknown).status, 404);
    assert_eq!(status(), "online");
    assert_eq!(runner_call(&server, "DELETE", "/runners/managers", body).status, 204);
    assert_eq!(status(), "never_contacted", "the last manager takes the contact time with it");
}

#[test]
fn a_shared_runner_is_taken_from_a_project_before_it_is_deleted() {
    let server = stand_in();
    let other = server.add_project("hpc/other");
    let (id, _) = server.add_runner(json!({ "path": "hpc/solver", "tags": ["a"] }));
    let root = |method: &str, path: &str, body: Value| call(&server, server.root_token(), method, path, body);
    let path = format!("/runners/{id}");
    assert_eq!(root("POST", &format!("/projects/{other}/runners"), json!({ "runner_id": id })).status, 201);
    let refused = root("DELETE", &path, json!(null));
    assert_eq!(refused.json()["message"], "403 Forbidden - Runner associated with more than one project");
    assert_eq!(root("DELETE", &format!("/projects/{other}{path}"), json!(null)).status, 204);
    assert_eq!(root("DELETE", &path, json!(null)).status, 204);
}
