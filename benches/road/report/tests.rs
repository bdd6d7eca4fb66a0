//! What is written down of a run of the road bench, and whether `docs/performance.md` is what one has
//! written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_precision_loss,
    reason = "a test fails where it stands, and its numbers are its own"
)]

mod block;
mod chart;
mod figures;
mod machine;
mod page;
mod svg;
mod table;

use std::path::Path;

use figures::{Figure, HASH, NGINX, Row, SUBGATE};
use machine::Machine;
use page::Run;
use table::Table;

fn row(case: &str, proxy: &str, figures: &[(Figure, f64)]) -> Row {
    let mut row = Row::new(case, proxy);
    figures.iter().for_each(|(figure, value)| row.set(*figure, Some(*value)));
    row
}

fn rows() -> Vec<Row> {
    let small = |proxy, value| row("get-1kib", proxy, &[(Figure::PerThousand, value), (Figure::Peak, 12.34)]);
    let large = |proxy, value| row("get-64mib", proxy, &[(Figure::PerGib, value)]);
    let large_put = |proxy, value| row("put-64mib", proxy, &[(Figure::PerGib, value)]);
    let mut ours = small(SUBGATE, 0.041_234);
    ours.set(Figure::OfNginx, Some(0.041_234 / 0.02));
    vec![
        row("get-1kib", "direct", &[(Figure::PerSecond, 12345.678)]),
        ours,
        small("nginx", 0.018),
        small(NGINX, 0.02),
        large(SUBGATE, 0.25),
        large("haproxy", 0.5),
        row("put-64mib-sha256", SUBGATE, &[(Figure::PerGib, 1.1), (Figure::OfHash, 1.15)]),
        row("put-64mib-sha256", HASH, &[(Figure::PerGib, 0.64)]),
        large_put("haproxy-splice", 0.3),
    ]
}

fn run() -> Run {
    Run {
        command: "cargo bench --bench road -- --report".to_owned(),
        machine: Machine {
            date: "2026-11-22".to_owned(),
            cores: 2,
            processor: "Some <fast> processor & more".to_owned(),
            kernel: "6.12.3".to_owned(),
        },
        programs: vec![(SUBGATE.to_owned(), "0.1.0".to_owned()), ("nginx".to_owned(), "1.22.1".to_owned())],
        is_optimised: true,
    }
}

/// The rows that the table of all figures shows; the last table of a block.
fn rows_of(block: &str) -> Vec<Row> {
    let table = block.trim().rsplit("\n\n").next().unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = table.lines();
    let titles = cells(lines.next().unwrap());
    let figure = |title: &str| Figure::ALL.into_iter().find(|figure| figure.title() == title);
    lines
        .skip(1)
        .map(|line| {
            let cells = cells(line);
            assert_eq!(cells.len(), titles.len(), "{line}");
            let mut row = Row::new(&cells[1], &cells[2]);
            for (title, cell) in titles.iter().zip(&cells).skip(3).filter(|(title, _)| !title.is_empty()) {
                let figure = figure(title).unwrap_or_else(|| panic!("no figure is called {title}"));
                row.set(figure, (!cell.is_empty()).then(|| cell.parse().unwrap()));
            }
            row
        })
        .collect()
}

/// The block of this name in a document.
fn block_of<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<!-- measured: {name};"))?;
    let (_, rest) = rest.split_once("-->")?;
    Some(rest.split_once("<!-- end of measured: ").unwrap().0.trim())
}

/// The width of the bar that stands before a number in the picture.
fn bar_width(picture: &str, number: &str) -> f64 {
    let (before, _) =
        picture.split_once(&format!(">{number}</text>")).unwrap_or_else(|| panic!("no {number}"));
    let (_, bar) = before.rsplit_once("width=\"").unwrap();
    bar.split('"').next().unwrap().parse().unwrap()
}

#[test]
fn a_figure_is_kept_as_it_is_shown_and_the_terminal_shows_what_the_report_shows() {
    let row = row("get-1kib", SUBGATE, &[(Figure::PerThousand, 0.041_234), (Figure::OfDirect, f64::NAN)]);
    assert_eq!(row.get(Figure::PerThousand), Some(0.0412));
    assert_eq!(row.get(Figure::OfDirect), None);
    let line = figures::all_figures().line(&row.cells());
    let head = figures::all_figures().head();
    let end = head.find("CPU s/1000").unwrap() + "CPU s/1000".len();
    assert!(line[..end].ends_with("    0.0412"), "{head}\n{line}");
    assert!(line.starts_with("get-1kib  ") && !line.ends_with(' '), "{line}");
    let markdown = figures::whole(std::slice::from_ref(&row)).markdown();
    assert_eq!(rows_of(&markdown), [row]);
}

#[test]
fn bodies_are_told_by_what_counts_for_their_size() {
    assert_eq!(Figure::that_counts(1 << 10), Figure::PerThousand);
    assert_eq!(Figure::that_counts(1 << 20), Figure::PerGib);
}

#[test]
fn the_summary_has_a_line_for_each_case_and_a_column_for_each_proxy() {
    let expected = "\
| case | in | subgate | nginx | nginx+log | haproxy | haproxy-splice | hash alone | of nginx | of hash |
| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |
| get-1kib | CPU s/1000 | 0.0412 | 0.0180 | 0.0200 |  |  |  | 2.06 |  |
| get-64mib | CPU s/GiB | 0.250 |  |  | 0.500 |  |  |  |  |
| put-64mib-sha256 | CPU s/GiB | 1.100 |  |  |  |  | 0.640 |  | 1.15 |
| put-64mib | CPU s/GiB |  |  |  |  | 0.300 |  |  |  |
";
    assert_eq!(figures::summary(&rows()).markdown(), expected);
}

#[test]
fn what_is_written_down_can_be_read_back() {
    let block = run().road(&rows());
    assert_eq!(rows_of(&block), rows());
    assert!(block.contains("- where: 2 cores (Some <fast> processor & more), Linux 6.12.3\n"), "{block}");
    assert!(block.contains("- how: `cargo bench --bench road -- --report`\n"), "{block}");
    assert!(!block.contains("not to be read"), "{block}");
    let slow = Run { is_optimised: false, ..run() };
    assert!(
        slow.road(&rows()).contains("not to be read") && slow.picture(&rows()).contains("not to be read")
    );
}

#[test]
fn other_tables_are_written_down_with_the_same_words() {
    let mut table = Table::new(1, ["what", "peak | MiB"]);
    table.push(vec!["1,000 downloads".to_owned(), "90.1".to_owned()]);
    let block = run().of(&table);
    assert!(block.starts_with("- when: 2026-11-22\n"), "{block}");
    assert!(
        block.ends_with("\n| what | peak \\| MiB |\n| --- | --: |\n| 1,000 downloads | 90.1 |\n"),
        "{block}"
    );
}

#[test]
fn bars_are_as_long_as_their_numbers_and_text_is_text() {
    let picture = run().picture(&rows());
    assert_eq!(picture, run().picture(&rows()));
    let ratio = bar_width(&picture, "0.0412") / bar_width(&picture, "0.0200");
    assert!((ratio - 2.06).abs() < 0.01, "{ratio}");
    let ratio = bar_width(&picture, "0.250") / bar_width(&picture, "1.100");
    assert!((ratio - 0.25 / 1.1).abs() < 0.01, "one scale for all large bodies: {ratio}");
    assert!(picture.contains("(Some &lt;fast&gt; processor &amp; more)"), "{picture}");
    for text in [
        ">get-1kib<",
        ">subgate<",
        ">nginx+log<",
        ">hash alone<",
        ">haproxy-splice<",
        "prefers-color-scheme: dark",
    ] {
        assert!(picture.contains(text), "{text}: {picture}");
    }
    // The row with the log stands for the proxy, and the store by itself costs no proxy anything.
    for text in [">nginx<", ">direct<", "<script", "href", "NaN"] {
        assert!(!picture.contains(text), "{text}: {picture}");
    }
    assert_eq!(picture.matches("class=\"ours\"").count(), 3);
}

#[test]
fn a_block_is_replaced_and_nothing_else() {
    let first = block::replaced("", "road", "one\n").unwrap();
    let document = format!("# Title\n\n{first}\nAfter it.\n");
    let second = block::replaced(&document, "road", "two").unwrap();
    assert_eq!(second, document.replace("one", "two"));
    assert_eq!(block_of(&second, "road"), Some("two"));
    assert_eq!(block::replaced(&second, "road", "two").unwrap(), second);
    for faulty in
        [document.replace("<!-- end", "<!-- "), document.replace("measured: road;", ""), document.repeat(2)]
    {
        assert!(block::replaced(&faulty, "road", "two").is_err(), "{faulty}");
    }
    let third = block::replaced(&document, "memory", "three").unwrap();
    assert!(third.starts_with(&document) && block_of(&third, "memory") == Some("three"), "{third}");
}

#[test]
fn versions_are_told_without_what_others_add_to_them() {
    let read = |text: &str| machine::version(text).unwrap();
    assert_eq!(read("nginx version: nginx/1.22.1\n"), "1.22.1");
    assert_eq!(read("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/"), "2.6.12");
    assert_eq!(read("\nenvoy  version: 9e5580933739775e8bce/1.40.0/Clean/RELEASE/BoringSSL"), "1.40.0");
    assert_eq!(read("6.12.3-some-cloud1.2"), "6.12.3");
    assert_eq!(machine::version("none"), None);
}

#[test]
fn the_processor_is_told_by_its_own_name() {
    let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9B14\n\nprocessor\t: 1\n";
    assert_eq!(machine::processor(text), "AMD EPYC 9B14");
    assert_eq!(machine::processor("processor : 0\n"), std::env::consts::ARCH);
}

/// The page holds blocks that a run can write anew; and where one has, picture and tables are of that run,
/// and of a whole one.
#[test]
fn the_page_is_what_a_run_has_written() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = std::fs::read_to_string(docs.join("performance.md")).unwrap();
    for name in ["road", "memory"] {
        let block = block_of(&page, name).unwrap_or_else(|| panic!("no block {name}"));
        assert_eq!(block::replaced(&page, name, block).as_deref(), Ok(page.as_str()));
        for part in ["--quick", "--case", "--proxy", "not to be read"] {
            assert!(!block.contains(part), "{part}: {block}");
        }
    }
    let block = block_of(&page, "road").unwrap();
    if !block.contains("](") {
        assert_eq!(block, "Not measured yet.");
        return;
    }
    let rows = rows_of(block);
    assert!(block.contains(&figures::summary(&rows).markdown()), "the summary is not of these figures");
    let picture = std::fs::read_to_string(docs.join(page::PICTURE)).unwrap();
    let bars = |picture: &str| picture[picture.find("class=\"section\"").unwrap()..].to_owned();
    assert_eq!(bars(&picture), bars(&run().picture(&rows)), "the picture is not of these figures");
}
