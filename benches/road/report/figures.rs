//! The rows of the road's table: what one proxy took for one case.

use std::collections::BTreeMap;

use super::table::Table;

/// Whose log is on and who says so.
pub(crate) const SUBGATE: &str = "subgate";
/// The one that others are told in parts of.
pub(crate) const NGINX: &str = "nginx+log";
/// The hash library by itself, over the same bytes.
pub(crate) const HASH: &str = "hash alone";

/// Bodies from here on are told by the GiB, smaller ones by the thousand.
pub(crate) const LARGE_BYTES_MIN: u64 = 64 << 10;

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    PerSecond,
    OfDirect,
    PerGib,
    PerThousand,
    OfNginx,
    OfCheaper,
    OfHash,
    System,
    Peak,
}

impl Figure {
    pub(crate) const ALL: [Self; 9] = [
        Self::PerSecond,
        Self::OfDirect,
        Self::PerGib,
        Self::PerThousand,
        Self::OfNginx,
        Self::OfCheaper,
        Self::OfHash,
        Self::System,
        Self::Peak,
    ];

    /// The name of its column.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::PerSecond => "requests/s",
            Self::OfDirect => "of direct",
            Self::PerGib => "CPU s/GiB",
            Self::PerThousand => "CPU s/1000",
            Self::OfNginx => "of nginx",
            Self::OfCheaper => "of cheaper",
            Self::OfHash => "of hash",
            Self::System => "system %",
            Self::Peak => "peak MiB",
        }
    }

    /// As many decimals as mean something.
    pub(crate) const fn decimals(self) -> usize {
        match self {
            Self::System => 0,
            Self::PerSecond | Self::Peak => 1,
            Self::OfDirect | Self::OfNginx | Self::OfCheaper | Self::OfHash => 2,
            Self::PerGib => 3,
            Self::PerThousand => 4,
        }
    }

    /// Of the two costs the one that means something for bodies of so many bytes.
    pub(crate) const fn that_counts(bytes: u64) -> Self {
        if bytes < LARGE_BYTES_MIN { Self::PerThousand } else { Self::PerGib }
    }
}

/// What one proxy took for one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) proxy: String,
    figures: BTreeMap<Figure, f64>,
}

impl Row {
    pub(crate) fn new(case: &str, proxy: &str) -> Self {
        Self { case: case.to_owned(), proxy: proxy.to_owned(), figures: BTreeMap::new() }
    }

    /// Adds a figure, where there is one. It is kept as it is shown, so that the picture and whoever reads
    /// the table see the same.
    pub(crate) fn set(&mut self, figure: Figure, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let decimals = figure.decimals();
            let shown = format!("{value:.decimals$}").parse().unwrap_or(value);
            self.figures.insert(figure, shown);
        }
    }

    pub(crate) fn get(&self, figure: Figure) -> Option<f64> {
        self.figures.get(&figure).copied()
    }

    /// Its cells in the table of all figures.
    pub(crate) fn cells(&self) -> Vec<String> {
        let words = [self.case.clone(), self.proxy.clone()].into_iter();
        words.chain(Figure::ALL.into_iter().map(|figure| self.shown(figure))).collect()
    }

    fn shown(&self, figure: Figure) -> String {
        let decimals = figure.decimals();
        self.get(figure).map_or_else(String::new, |value| format!("{value:.decimals$}"))
    }

    /// The one by which proxies are compared in this case.
    pub(crate) fn cost(&self) -> Option<(Figure, f64)> {
        [Figure::PerGib, Figure::PerThousand].into_iter().find_map(|figure| Some((figure, self.get(figure)?)))
    }
}

/// The table of all figures, without rows.
pub(crate) fn all_figures() -> Table {
    Table::new(2, ["case", "proxy"].into_iter().chain(Figure::ALL.map(Figure::title)))
}

/// All figures.
pub(crate) fn whole(rows: &[Row]) -> Table {
    let mut table = all_figures();
    rows.iter().for_each(|row| table.push(row.cells()));
    table
}

/// What every proxy takes of the processor, a line for each case, and how Subgate stands to what it is held
/// against.
pub(crate) fn summary(rows: &[Row]) -> Table {
    const RATIOS: [Figure; 2] = [Figure::OfNginx, Figure::OfHash];
    let priced: Vec<&Row> = rows.iter().filter(|row| row.cost().is_some()).collect();
    let mut proxies = distinct(priced.iter().map(|row| row.proxy.as_str()));
    let programs = distinct(proxies.iter().map(|proxy| program(proxy)));
    proxies.sort_by_key(|proxy| programs.iter().position(|name| *name == program(proxy)));
    let words = ["case", "in"].into_iter();
    let mut table = Table::new(2, words.chain(proxies.iter().copied()).chain(RATIOS.map(Figure::title)));
    for case in distinct(priced.iter().map(|row| row.case.as_str())) {
        let of = |proxy: &str| priced.iter().find(|row| row.case == case && row.proxy == proxy);
        let unit = priced.iter().find(|row| row.case == case).and_then(|row| row.cost());
        let mut cells = vec![case.to_owned(), unit.map_or("", |(figure, _)| figure.title()).to_owned()];
        cells.extend(proxies.iter().map(|proxy| {
            let cost = of(proxy).and_then(|row| Some(row.shown(row.cost()?.0)));
            cost.unwrap_or_default()
        }));
        cells.extend(RATIOS.map(|ratio| of(SUBGATE).map(|row| row.shown(ratio)).unwrap_or_default()));
        table.push(cells);
    }
    table
}

/// The program behind a row: `nginx` for `nginx+log`.
pub(crate) fn program(proxy: &str) -> &str {
    proxy.split(['+', '-']).next().unwrap_or(proxy)
}

/// Each name once, in the order in which they come.
pub(crate) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}
