//! Where and with what a run was made, in general terms: nothing by which somebody finds the machine.

/// A machine and a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The day of the run, as `2026-11-22`.
    pub(crate) date: String,
    pub(crate) cores: usize,
    /// What the processor calls itself.
    pub(crate) processor: String,
    /// `6.12.3`
    pub(crate) kernel: String,
}

/// What the processor calls itself in `/proc/cpuinfo`.
pub(crate) fn processor(cpuinfo: &str) -> String {
    let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let model = |(name, value): (&str, &str)| (name.trim() == "model name").then(|| value.trim().to_owned());
    // On ARM there is no name.
    fields.into_iter().find_map(model).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The first version with two dots or one in what a program says of itself: its number alone, without what a
/// distribution or a cloud adds.
pub(crate) fn version(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|word| word.trim_matches('.'));
    words.into_iter().find(|word| word.contains('.') && !word.contains("..")).map(str::to_owned)
}
