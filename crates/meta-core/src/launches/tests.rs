//! What is read comes back, and what is kept.

use super::*;

const EXAMPLE: &str = r#"{
  "version": 1,
  "launches": [
    { "id": "6924f1c05e9a41", "instance": "big-node", "elements": 1, "slots": 1, "batch_id": "1234",
      "submitted": 1790000000, "changed": 1790000000, "state": "queued", "reason": null, "jobs": [4711] }
  ]
}"#;

fn example() -> Launch {
    Ledger::parse(EXAMPLE).unwrap().launches.remove(0)
}

#[test]
fn the_contract_s_example_is_read_and_comes_back() {
    let launch = example();
    assert_eq!(
        (launch.instance.as_str(), launch.state, launch.jobs.as_slice()),
        ("big-node", State::Queued, &[4711][..])
    );
    let mut ledger = Ledger { launches: vec![launch], ..Ledger::default() };
    assert_eq!(Ledger::parse(&ledger.render()).unwrap(), ledger);
    ledger.keep_alive.insert("big-node".to_owned(), 5);
    ledger.warned.insert(4711, 6);
    ledger.renewal_tried = 7;
    ledger.runners.insert("big-node".to_owned(), KnownRunner { id: 5, asked: 8, paused: true });
    ledger.refused_tokens.insert("big-node".to_owned(), "c0ffee".to_owned());
    let project = KnownProject {
        id: 1,
        path: "g/p".to_owned(),
        protected: Some(ProtectedRefs::default()),
        without_ci: true,
    };
    ledger.scope = Some(KnownScope {
        of: "group g".to_owned(),
        listed: 7,
        projects: vec![project],
        missing: BTreeMap::from([("g/gone".to_owned(), "404".to_owned())]),
    });
    let launch = &mut ledger.launches[0];
    (launch.waiting, launch.runs) = (Some(1), vec![8, 9]);
    launch.lost_at.insert(4711, 10);
    launch.surplus = Some(Surplus { since: 11, elements: 1 });
    launch.refused_config = Some("c0ffee".to_owned());
    ledger.totals.gitlab_requests = 12;
    ledger.totals.of("big-node").launches = 13;
    let trouble = Trouble { over: Some(15), end_told: 16, ..Trouble::new("no answer", 14) };
    ledger.troubles.insert("GitLab".to_owned(), trouble);
    assert_eq!(Ledger::parse(&ledger.render()).unwrap(), ledger);
}

#[test]
fn what_is_not_a_ledger_is_refused() {
    let error = |text: &str| Ledger::parse(text).unwrap_err().to_string();
    assert_eq!(error(""), "it is not a list of launches");
    assert_eq!(error(&EXAMPLE[..200]), "it is not a list of launches");
    assert_eq!(error(&EXAMPLE.replace("queued", "asleep")), "it is not a list of launches");
    assert_eq!(error(&EXAMPLE.replace("big-node", "../x")), "it is not a list of launches");
    assert_eq!(error(r#"{"version": 2}"#), "it has version 2, and this launcher reads version 1");
}

#[test]
fn pruning_keeps_what_may_matter() {
    let kept = |state, age: u64, refused_config: Option<&str>| {
        let launch =
            Launch { state, changed: 1000, refused_config: refused_config.map(str::to_owned), ..example() };
        let mut ledger = Ledger { launches: vec![launch], ..Ledger::default() };
        ledger.prune(1000 + age);
        !ledger.launches.is_empty()
    };
    let year = 365 * 24 * 3600;
    for state in [State::Submitting, State::Queued, State::Running, State::Unknown] {
        assert!(kept(state, year, None), "{state:?}");
    }
    assert!(kept(State::Done, 3599, None) && !kept(State::Done, 3600, None));
    assert!(kept(State::Lost, 24 * 3600 - 1, None) && !kept(State::Lost, 24 * 3600, None));
    assert!(kept(State::Failed, year, Some("c0ffee")) && !kept(State::Failed, year, None));
    // A refusal stops its instance no longer once something else has happened to it.
    let refused = Launch {
        id: "old".to_owned(),
        state: State::Failed,
        refused_config: Some("c0ffee".to_owned()),
        changed: 0,
        ..example()
    };
    let mut ledger = Ledger { launches: vec![refused, example()], ..Ledger::default() };
    ledger.prune(year);
    assert_eq!(ledger.launches, [example()]);
}

#[test]
fn nothing_in_it_is_of_the_future() {
    let mut launch = example();
    (launch.submitted, launch.changed, launch.runs) = (100, 200, vec![90, 210]);
    launch.lost_at.insert(4711, 220);
    launch.surplus = Some(Surplus { since: 230, elements: 1 });
    let scope = KnownScope { of: String::new(), listed: 240, projects: Vec::new(), missing: BTreeMap::new() };
    let trouble = Trouble { over: Some(260), end_told: 270, ..Trouble::new("no answer", 250) };
    let mut ledger = Ledger {
        launches: vec![launch],
        keep_alive: BTreeMap::from([("big-node".to_owned(), 280)]),
        warned: BTreeMap::from([(4711, 290)]),
        scope: Some(scope),
        renewal_tried: 300,
        troubles: BTreeMap::from([("GitLab".to_owned(), trouble)]),
        totals: Totals::default(),
        runners: BTreeMap::new(),
        refused_tokens: BTreeMap::new(),
    };
    let mut text = ledger.render();
    ledger.end_at(300);
    assert_eq!(ledger.render(), text);
    ledger.end_at(150);
    for time in (200..=300).step_by(10) {
        text = text.replace(&format!("{time},"), "150,").replace(&format!("{time}\n"), "150\n");
    }
    assert_eq!(ledger.render(), text);
}
