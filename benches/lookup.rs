//! What it costs to look a hotkey up: the same on a subnet of 256 and of 65,536.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up should stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use subgate::chain::{AccountId, Neuron, Snapshot, ValidatorRule};

fn account(id: u32) -> AccountId {
    // Spread as public keys are, and never zero.
    let mut key = [0x5a; 32];
    key[..4].copy_from_slice(&id.wrapping_mul(0x9E37_79B9).to_le_bytes());
    AccountId::from_bytes(key).unwrap()
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    let rule = ValidatorRule::default();
    for count in [256, 65_536] {
        let neurons = (0..count).map(|id| Neuron::new(account(id), account(count + id), id % 4 == 0, 2e4));
        let snapshot = Snapshot::new(neurons.collect(), 0).unwrap();
        // The same few hotkeys of each, so that the difference is not that of the processor's caches.
        let asked: Vec<AccountId> = (0..256).map(|id| account(id * (count / 256))).collect();
        let mut next = asked.iter().cycle();
        group.bench_function(format!("registered/{count}"), |bencher| {
            bencher.iter(|| {
                let neuron = next.next().and_then(|hotkey| snapshot.neuron(black_box(hotkey)));
                black_box(neuron.map(|neuron| rule.role(neuron)))
            });
        });
        let stranger = account(u32::MAX);
        group.bench_function(format!("stranger/{count}"), |bencher| {
            bencher.iter(|| black_box(snapshot.neuron(black_box(&stranger)).is_none()));
        });
    }
    group.finish();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
