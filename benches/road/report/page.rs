//! What a run writes down: Markdown for a block of a document, and the picture beside it.

use super::{
    chart,
    figures::{self, Row},
    machine::Machine,
    table::Table,
};

/// The name of the picture's file; it stands beside the document.
pub(crate) const PICTURE: &str = "performance.svg";

/// What is told of every run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// How to have it again.
    pub(crate) command: String,
    pub(crate) machine: Machine,
    /// Names and versions.
    pub(crate) programs: Vec<(String, String)>,
    /// Whether it was compiled as what is shipped.
    pub(crate) is_optimised: bool,
}

impl Run {
    /// The table of the road, as it was summed up and whole.
    pub(crate) fn road(&self, rows: &[Row]) -> String {
        format!(
            "![CPU time by case and proxy]({PICTURE})\n\n{}\nCPU time of each proxy:\n\n{}\n\
             All figures of that run:\n\n{}",
            self.told(),
            figures::summary(rows).markdown(),
            figures::whole(rows).markdown()
        )
    }

    /// The picture of the road.
    pub(crate) fn picture(&self, rows: &[Row]) -> String {
        let Machine { date, cores, processor, kernel } = &self.machine;
        let programs = self.programs();
        let warning = if self.is_optimised { "" } else { "\nnot to be read: a build for debugging" };
        let caption = format!("{date}, {cores} cores ({processor}), Linux {kernel}\n{programs}{warning}");
        chart::draw(rows, &caption)
    }

    /// Another table than the road's.
    pub(crate) fn of(&self, table: &Table) -> String {
        format!("{}\n{}", self.told(), table.markdown())
    }

    /// When, where, with what and how, a line each.
    fn told(&self) -> String {
        let Machine { date, cores, processor, kernel } = &self.machine;
        let warning = if self.is_optimised { "" } else { "- **not to be read**: a build for debugging\n" };
        format!(
            "- when: {date}\n- where: {cores} cores ({processor}), Linux {kernel}\n- with: {}\n\
             - how: `{}`\n{warning}",
            self.programs(),
            self.command
        )
    }

    fn programs(&self) -> String {
        let programs = self.programs.iter().map(|(name, version)| format!("{name} {version}"));
        programs.collect::<Vec<_>>().join(", ")
    }
}
