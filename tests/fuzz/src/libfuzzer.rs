//! The entry point of libFuzzer; `SUBGATE_FUZZ_TARGET` names the target.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use subgate_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("SUBGATE_FUZZ_TARGET").expect("SUBGATE_FUZZ_TARGET names a target");
    TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
});

fuzz_target!(|input: &[u8]| (TARGET.run)(input));
