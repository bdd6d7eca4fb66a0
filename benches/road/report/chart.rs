//! Which figures the picture shows: of everybody the row with a log, where there is one, as Subgate's has
//! its log on; small bodies by the thousand, large ones by the GiB.

use super::{
    figures::{Figure, Row, SUBGATE, distinct},
    svg::{self, Bar, Group, Section},
};

/// Draws the rows.
pub(crate) fn draw(rows: &[Row], caption: &str) -> String {
    let section = |title: &str, figure: Figure| {
        let of_case = |case: &str| {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.case == case).collect();
            let bars = rows.iter().filter(|row| is_shown(row, &rows)).filter_map(|row| {
                let (own, value) = row.cost()?;
                (own == figure).then(|| Bar {
                    label: row.proxy.clone(),
                    value,
                    shown: format!("{value:.*}", figure.decimals()),
                    is_ours: row.proxy == SUBGATE,
                })
            });
            Group { title: case.to_owned(), bars: bars.collect() }
        };
        let groups = distinct(rows.iter().map(|row| row.case.as_str())).into_iter().map(of_case);
        Section { title: title.to_owned(), groups: groups.filter(|group| !group.bars.is_empty()).collect() }
    };
    let sections = [
        section("Small bodies: CPU seconds for 1,000 requests", Figure::PerThousand),
        section("Large bodies: CPU seconds for 1 GiB", Figure::PerGib),
    ];
    svg::draw("What a request and a GiB cost, less is better", caption, &sections)
}

/// A proxy may have several rows, `nginx` and `nginx+log`: the one with the log stands for all of them.
fn is_shown(row: &Row, of_the_case: &[&Row]) -> bool {
    let has = |name: &str| of_the_case.iter().any(|other| other.proxy == name);
    match row.proxy.split_once('+') {
        Some((program, what)) => what == "log" || !has(&format!("{program}+log")),
        None => !has(&format!("{}+log", row.proxy)),
    }
}
