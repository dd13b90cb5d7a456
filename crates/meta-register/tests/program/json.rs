//! `--json`: plan and result for programs.

use serde_json::{Value, json};

use crate::sandbox::{Run, Sandbox};

fn document(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

#[test]
fn a_plan_and_what_came_of_it() {
    let sandbox = Sandbox::new();
    sandbox
        .configure("[runners.big]\ntags = [\"a\"]\n[runners.small]\ntags = [\"s\"]\nmaximum_timeout = 600\n");
    let plan = document(&sandbox.run(&["--dry-run", "--json"]));
    assert_eq!((&plan["version"], &plan["applied"]), (&json!(1), &json!(false)));
    let wanted = json!({
        "description": "meta/small on the batch system [meta/small]", "tags": ["s"], "run_untagged": false,
        "protected": false, "locked": true, "maximum_timeout": 600
    });
    assert_eq!(plan["actions"][1], json!({"action": "create", "instance": "small", "wanted": wanted}));
    assert_eq!(sandbox.writes(0), [""; 0]);

    let refusal = json!({"status": {"status": 400, "body": {"message": {"tags_list": ["is bad"]}}}});
    sandbox.gitlab.add_fault(
        json!({"route": "POST /api/v4/user/runners", "body_contains": "meta/big]", "answer": refusal}),
    );
    let run = sandbox.run(&["--json"]);
    assert_eq!(run.code, Some(5));
    let result = document(&run);
    assert_eq!(result["applied"], json!(true));
    let error = "error: cannot create big: tags [a]\n\
                 caused by: `POST URL/api/v4/user/runners` answered 400: tags_list is bad";
    assert_eq!(
        (&result["actions"][0]["result"], &result["actions"][0]["error"]),
        (&json!("failed"), &json!(error))
    );
    assert_eq!(result["actions"][1]["result"], json!("done"));

    sandbox.run(&[]);
    let nothing = json!({"version": 1, "applied": true, "actions": [], "remarks": []});
    assert_eq!(document(&sandbox.run(&["--json"])), nothing);
}
