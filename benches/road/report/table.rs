//! A table, for a terminal and as Markdown.

/// Columns by name, and rows of as many cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    columns: Vec<String>,
    /// Columns before this one hold words, the others numbers, which end in one line.
    words: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One without rows.
    pub(crate) fn new<T: Into<String>>(words: usize, columns: impl IntoIterator<Item = T>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), words, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The names of the columns as a line for a terminal; numbers stand below them.
    pub(crate) fn head(&self) -> String {
        self.line(&self.columns)
    }

    /// One row as a line for a terminal.
    pub(crate) fn line(&self, row: &[String]) -> String {
        /// Room for the words of a column, and of the only one that has words.
        const WORDS_CHARS: usize = 24;
        const ONLY_WORDS_CHARS: usize = 40;
        /// And for the largest number, whatever its name.
        const NUMBER_CHARS_MIN: usize = 8;
        let words_width = if self.words == 1 { ONLY_WORDS_CHARS } else { WORDS_CHARS };
        let cells = self.columns.iter().zip(row).enumerate().map(|(at, (column, cell))| {
            let width = column.chars().count().max(NUMBER_CHARS_MIN);
            if at < self.words { format!("{cell:<words_width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = |at| if at < self.words { "---".to_owned() } else { "--:".to_owned() };
        let mut text = line(self.columns.iter().map(|cell| escaped(cell)).collect());
        text.push_str(&line((0..self.columns.len()).map(rule).collect()));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| escaped(cell)).collect()));
        }
        text
    }
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|")
}
