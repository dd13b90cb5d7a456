//! Artifacts up and down, and reports.

use end_to_end::parity::{Place, Ran, Row};
use serde_json::json;

pub(super) const ROWS: &[Row] = &[
    Row::play("artifacts: from one job to the next (zip)", up_and_down),
    Row::play("artifacts: gzip and raw reports", reports),
    Row::play("artifacts: dotenv reports are variables", dotenv),
    Row::play("artifacts: untracked, exclude, name, expire_in", selections),
    Row::play("artifacts: when", when),
    Row::play("artifacts: dependencies and needs", dependencies),
    Row::play("artifacts: nothing to upload, and a refusal", failures),
];

fn up_and_down(place: &Place) {
    let ran = place.pipeline(
        "stages: [build, test]
make:
  stage: build
  script:
    - mkdir -p out/deep; echo text > out/deep/file; printf '\\000\\377' > out/binary; echo 'echo runs' > out/program
    - chmod 755 out/program; ln -s deep/file out/link; mkdir out/empty; touch 'out/a name with ä'
  artifacts: {paths: [out/]}
use:
  stage: test
  script:
    - cat out/link; ./out/program 2>/dev/null || sh out/program; stat -c '%a %F' out/program out/empty
    - wc -c < out/binary; ls out
",
    );
    let [make, uses] = ran.try_into().expect("two jobs ran");
    assert_eq!(
        uploads(&make.passes()),
        [("archive".to_owned(), "zip".to_owned(), "artifacts.zip".to_owned())]
    );
    uses.passes()
        .says("text")
        .says("runs")
        .says("755 regular file")
        .says("755 directory")
        .says("2")
        .says("a name with ä");
}

fn uploads(ran: &Ran) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    ran.artifacts
        .iter()
        .map(|one| (text(&one["type"]), text(&one["format"]), text(&one["filename"])))
        .collect()
}

fn reports(place: &Place) {
    let job = "script:\n  - echo '<testsuites/>' | tee a.xml > b.xml\n  - echo '{}' > plan.json\n  - exit 3\n\
               artifacts: {reports: {junit: '*.xml', terraform: plan.json}}";
    let ran = place.job(job).fails(3);
    let expected = [("junit", "gzip", "junit.xml.gz"), ("terraform", "raw", "tfplan.json")];
    assert_eq!(uploads(&ran), expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())), "{ran}");
}

fn dotenv(place: &Place) {
    let ran = place.pipeline(
        "stages: [build, test]
make: {stage: build, script: ['echo \"VERSION=1.2 $CI_JOB_NAME\" > build.env'], artifacts: {reports: {dotenv: build.env}}}
use: {stage: test, variables: {VERSION: lower}, script: ['echo \"version: $VERSION\"']}
",
    );
    let [make, uses] = ran.try_into().expect("two jobs ran");
    make.passes();
    uses.passes().says("version: 1.2 make");
}

fn selections(place: &Place) {
    let place = place.with_repository();
    place.commit("echo tracked > file");
    let ran = place.pipeline_of_repository(
        "stages: [build, test]
make:
  stage: build
  script: [mkdir out; touch out/keep out/skip.tmp stray]
  artifacts: {name: 'of-$CI_JOB_NAME', untracked: true, paths: [out], exclude: ['out/*.tmp'], expire_in: 2 days}
use: {stage: test, variables: {GIT_STRATEGY: none}, script: ['find . -type f | sort']}
",
    );
    let [make, uses] = ran.try_into().expect("two jobs ran");
    let make = make.passes();
    assert_eq!(
        (&make.artifacts[0]["filename"], &make.artifacts[0]["expire_in"]),
        (&json!("of-make.zip"), &json!("2 days"))
    );
    uses.passes().says("./out/keep").says("./stray").hides("skip.tmp").hides("./file");
}

fn when(place: &Place) {
    let count = |when: &str, code: i64| {
        let ran =
            place.job(&format!("script: [touch a, exit {code}]\nartifacts: {{paths: [a], when: {when}}}"));
        ran.artifacts.len()
    };
    let found = ["on_success", "on_failure", "always"].map(|when| [count(when, 0), count(when, 1)]);
    assert_eq!(found, [[1, 0], [0, 1], [1, 1]]);
}

fn dependencies(place: &Place) {
    let ran = place.pipeline(
        "stages: [build, test]
a: {stage: build, script: [touch a], artifacts: {paths: [a]}}
b: {stage: build, script: [touch b], artifacts: {paths: [b]}}
all: {stage: test, script: ['echo all: *']}
one: {stage: test, dependencies: [b], script: ['echo one: *']}
none: {stage: test, dependencies: [], script: ['echo none: *']}
need: {stage: test, needs: [a, {job: b, artifacts: false}], script: ['echo need: *']}
",
    );
    let said = |name: &str, line: &str| {
        let one = ran.iter().find(|ran| ran.name == name).expect("it ran").clone();
        one.passes().says(line);
    };
    said("all", "all: a b");
    said("one", "one: b");
    said("none", "none: *");
    said("need", "need: a");
}

fn failures(place: &Place) {
    place
        .job("script: [\"true\"]\nartifacts: {paths: [absent]}")
        .passes()
        .shows("absent: no matching files")
        .shows("No files to upload");
    let place = place.with_executor("");
    place.gitlab().change_settings(json!({ "max_artifact_size": 10 }));
    let ran = place.job("script: [echo much more than ten bytes > a]\nartifacts: {paths: [a]}");
    ran.fails(1).shows("too large");
}
