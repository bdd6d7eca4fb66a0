//! What a request costs where thousands of hotkeys send, each with a session and a folder of its own, beside
//! the same requests by one of them.

use std::{path::Path, sync::Arc};

use crate::{
    cases::{Case, Form, KIB},
    options::Options,
    round::{Cost, Round},
    subgate::{self, Client, Miner},
};

/// What a subnet has at most, sixteen times over.
const HOTKEYS: u32 = 4096;

/// What a request of one of many may cost, in parts of what a request of a single one does.
const OF_ONE_MAX: f64 = 1.1;

/// Measures both in turn; `--quick` bounds nothing.
pub(crate) fn run(options: &Options, dir: &Path, store: u16) {
    let server = subgate::start(options.only_program(), dir, store, "");
    let miners: Vec<Miner> = (0..HOTKEYS).map(Miner::numbered).collect();
    subgate::register(dir, &miners);
    let clients: Vec<Client> = miners.iter().map(|miner| Client::log_in(server.port, *miner)).collect();
    println!("{:<24} {:>8} {:>10} {:>8} {:>8}", "case", "hotkeys", "CPU s/1000", "of one", "bound");
    let mut excess = Vec::new();
    for case in [Case::new("get-1kib", Form::Get, KIB, 64), Case::new("put-1kib", Form::Unsigned, KIB, 64)] {
        let shots = || clients.iter().map(|client| client.shot(&case));
        let measured = [Round::new(shots().take(1), 200), Round::new(shots(), 200)];
        let mut costs = [Cost::default(); 2];
        measured.iter().for_each(|round| round.warm(server.port));
        for _ in 0..options.rounds {
            for (round, cost) in measured.iter().zip(&mut costs) {
                Arc::clone(round).add_cost(server.port, &server.process, options.duration(), cost);
            }
        }
        let [one, many] = costs.map(|cost| cost.seconds_of_1000());
        println!("{:<24} {:>8} {one:>10.4}", case.name, 1);
        println!("{:<24} {HOTKEYS:>8} {many:>10.4} {:>8.2} {OF_ONE_MAX:>8.2}", case.name, many / one);
        excess.extend(Some(case.name).filter(|_| many / one > OF_ONE_MAX));
    }
    assert!(options.quick || excess.is_empty(), "many hotkeys cost more than one: {excess:?}");
}
