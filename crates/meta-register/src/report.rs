//! What goes to stdout: the plan for people, or plan and result for programs (contracts, section 3).

use meta_gitlab::runners::NewRunner;
use meta_host::app::print;
use meta_host::exit::report_chain;
use serde_json::{Map, Value, json};

use crate::apply::Fate;
use crate::plan::{Action, FieldChange, FieldValue, ForgetReason, Plan, RecreateReason, ResetReason, Step};

/// Prints the lines of the plan; nothing if there is nothing to do.
pub(crate) fn print_lines(plan: &Plan) {
    let lines: String = plan.actions.iter().map(|action| format!("{action}\n")).collect();
    print(&lines);
}

/// Prints one JSON document. Without fates it is a plan.
pub(crate) fn print_json(plan: &Plan, fates: Option<&[Fate]>) {
    print(&format!("{:#}\n", document(plan, fates)));
}

fn document(plan: &Plan, fates: Option<&[Fate]>) -> Value {
    let mut actions: Vec<Map<String, Value>> = plan.actions.iter().map(action).collect();
    for (action, fate) in actions.iter_mut().zip(fates.unwrap_or_default()) {
        let (result, error) = match fate {
            Fate::Done => ("done", None),
            Fate::Failed(error) => ("failed", Some(report_chain(error))),
            Fate::NotTried => ("not tried", None),
        };
        action.insert("result".to_owned(), json!(result));
        if let Some(error) = error {
            action.insert("error".to_owned(), json!(error));
        }
    }
    let remarks: Vec<Value> = plan
        .remarks
        .iter()
        .map(|remark| {
            json!({"instance": remark.instance.as_str(), "runner": remark.id, "text": remark.to_string()})
        })
        .collect();
    json!({"version": 1, "applied": fates.is_some(), "actions": actions, "remarks": remarks})
}

fn action(action: &Action) -> Map<String, Value> {
    let (verb, rest) = match &action.step {
        Step::Create(runner) => ("create", json!({"wanted": wanted(&runner.runner)})),
        Step::Recreate { old, reason, runner } => {
            let reason = match reason {
                RecreateReason::Gone => "gone",
                RecreateReason::TokenRefused => "token_refused",
                RecreateReason::Elsewhere => "elsewhere",
                RecreateReason::ElsewhereAndStays => "elsewhere_and_stays",
            };
            ("recreate", json!({"runner": old, "reason": reason, "wanted": wanted(&runner.runner)}))
        }
        Step::Adopt { id } => ("adopt", json!({"runner": id})),
        Step::ResetToken { id, reason: ResetReason::Refused } => {
            ("reset_token", json!({"runner": id, "reason": "refused"}))
        }
        Step::ResetToken { id, reason: ResetReason::Expires(end) } => {
            ("reset_token", json!({"runner": id, "reason": "expires", "expires_at": end}))
        }
        Step::Update { id, fields, .. } => {
            let fields: Vec<Value> = fields.iter().map(field).collect();
            ("update", json!({"runner": id, "fields": fields}))
        }
        Step::Assign { id, project } => ("assign", json!({"runner": id, "project": project})),
        Step::Delete { id, .. } => ("delete", json!({"runner": id})),
        Step::Forget { id, reason } => {
            let reason = match reason {
                ForgetReason::Gone => "gone",
                ForgetReason::NotOurs => "not_ours",
            };
            ("forget", json!({"runner": id, "reason": reason}))
        }
    };
    let mut map = Map::new();
    map.insert("action".to_owned(), json!(verb));
    map.insert("instance".to_owned(), json!(action.instance.as_str()));
    if let Value::Object(rest) = rest {
        map.extend(rest);
    }
    map
}

fn wanted(runner: &NewRunner) -> Value {
    json!({
        "description": runner.description,
        "tags": runner.tags,
        "run_untagged": runner.run_untagged,
        "protected": runner.protected,
        "locked": runner.locked,
        "maximum_timeout": runner.maximum_timeout_s,
    })
}

fn field(change: &FieldChange) -> Value {
    json!({"field": change.field, "old": field_value(&change.old), "new": field_value(&change.new)})
}

fn field_value(value: &FieldValue) -> Value {
    match value {
        FieldValue::Text(text) => json!(text),
        FieldValue::Tags(tags) => json!(tags),
        FieldValue::Flag(flag) => json!(flag),
        FieldValue::Seconds(seconds) => json!(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{About, Remark};
    use meta_gitlab::runners::RunnerChange;

    #[test]
    fn a_program_sees_old_and_new_values_and_results() {
        let step = Step::Update {
            id: 5,
            change: RunnerChange::default(),
            fields: vec![
                FieldChange {
                    field: "tags",
                    old: FieldValue::Tags(vec![]),
                    new: FieldValue::Tags(vec!["a".to_owned()]),
                },
                FieldChange {
                    field: "maximum_timeout",
                    old: FieldValue::Seconds(None),
                    new: FieldValue::Seconds(Some(600)),
                },
            ],
        };
        let reset = Step::ResetToken { id: 6, reason: ResetReason::Refused };
        let plan = Plan {
            actions: vec![
                Action { instance: "x".parse().unwrap(), step },
                Action { instance: "y".parse().unwrap(), step: reset },
            ],
            remarks: vec![Remark {
                instance: "x".parse().unwrap(),
                id: 5,
                about: About::AlsoServes(vec![7]),
            }],
        };
        let text = format!("{:#}\n", document(&plan, Some(&[Fate::Done, Fate::NotTried])));
        expect_test::expect![[r#"
            {
              "actions": [
                {
                  "action": "update",
                  "fields": [
                    {
                      "field": "tags",
                      "new": [
                        "a"
                      ],
                      "old": []
                    },
                    {
                      "field": "maximum_timeout",
                      "new": 600,
                      "old": null
                    }
                  ],
                  "instance": "x",
                  "result": "done",
                  "runner": 5
                },
                {
                  "action": "reset_token",
                  "instance": "y",
                  "reason": "refused",
                  "result": "not tried",
                  "runner": 6
                }
              ],
              "applied": true,
              "remarks": [
                {
                  "instance": "x",
                  "runner": 5,
                  "text": "runner 5 of `x` also serves project 7: name what is missing in `projects`, or unassign it"
                }
              ],
              "version": 1
            }
        "#]].assert_eq(&text);
        assert_eq!(document(&plan, None)["applied"], false);
        assert!(document(&plan, None)["actions"][0].get("result").is_none());
    }
}
