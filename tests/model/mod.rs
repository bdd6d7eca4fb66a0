//! A model: random sequences of what clients do, sent to Subgate in front of the embedded store, and compared
//! with a map of keys that obeys the folder policy.
//!
//! Every answer must be the model's (status, S3's code, bytes, keys and common prefixes), and at the end the
//! store must hold what the model holds and nothing else: so nothing outside of a caller's folders ever
//! changed. A sequence that differs is made as short as it can be before it is shown; the shown steps are
//! a test to write.
//!
//! `SUBGATE_MODEL_SECONDS=600 cargo test model::` tries for longer than the usual twenty seconds.

mod expected;
mod operations;
mod world;

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};

use self::{
    operations::{Step, steps},
    world::World,
};

const SECONDS: u64 = 20;

/// Runs sequences until the time is up; fails with the shortest one that differs.
#[test]
fn random_sequences_behave_as_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (world, people) = runtime.block_on(World::start());
    let world = RefCell::new(world);
    let seconds = std::env::var("SUBGATE_MODEL_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let config = Config { failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = steps();
    let (mut sequences, sent) = (0, Cell::new(0));
    while Instant::now() < end {
        let tree = strategy.new_tree(&mut runner).unwrap();
        let found = runner.run_one(tree, |steps: Vec<Step>| {
            sent.set(sent.get() + steps.len());
            let mut world = world.borrow_mut();
            runtime.block_on(world.run(&people, &steps)).map_err(TestCaseError::fail)
        });
        sequences += 1;
        match found {
            Ok(_) => {}
            Err(TestError::Abort(reason)) => panic!("{reason}"),
            Err(TestError::Fail(difference, steps)) => {
                let steps: String = steps.iter().map(|step| format!("    {step:?},\n")).collect();
                panic!("after {} steps: {difference}\nthe shortest sequence:\n{steps}", sent.get());
            }
        }
    }
    println!("{sequences} sequences of {} steps", sent.get());
}
