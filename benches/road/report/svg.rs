//! Horizontal bars as SVG: text as text, no script, nothing from elsewhere, light and dark.

use std::fmt::Write as _;

/// Bars of one unit, drawn to one scale.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) groups: Vec<Group>,
}

/// Bars to compare with each other.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// The value as it is told.
    pub(crate) shown: String,
    /// Whether it is the one to look at.
    pub(crate) is_ours: bool,
}

const WIDTH: usize = 760;
const MARGIN: usize = 20;
/// Where bars begin, behind their labels.
const BARS_X: usize = 150;
/// Room for the number behind the longest bar.
const NUMBER_WIDTH: usize = 64;
const BAR_STEP: usize = 17;
const BAR_HEIGHT: usize = 13;
/// From a bar's upper edge down to the line on which its text stands.
const BASELINE: usize = 11;

/// Colours have enough contrast with white and with GitHub's dark grey.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.section { font-size: 13px; font-weight: 600 }
.case { font-weight: 600 }
.label { text-anchor: end }
.quiet, .label { fill: #57606a }
.paper { fill: #ffffff }
.bar { fill: #8c959f }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.quiet, .label { fill: #9da7b3 }
.paper { fill: #0d1117 }
.bar { fill: #6e7681 }
.ours { fill: #4493f8 }
}
";

/// The whole picture. The same bars give the same bytes.
pub(crate) fn draw(title: &str, caption: &str, sections: &[Section]) -> String {
    let mut body = String::new();
    let mut y = MARGIN + 16;
    text(&mut body, "title", MARGIN, y, title);
    for line in caption.lines() {
        y += 18;
        text(&mut body, "quiet", MARGIN, y, line);
    }
    for section in sections.iter().filter(|section| !section.groups.is_empty()) {
        y += 34;
        text(&mut body, "section", MARGIN, y, &section.title);
        let bars = section.groups.iter().flat_map(|group| &group.bars);
        let longest = bars.map(|bar| bar.value).fold(0.0, f64::max);
        for group in &section.groups {
            y += 24;
            text(&mut body, "case", MARGIN, y, &group.title);
            y += 8;
            for bar in &group.bars {
                draw_bar(&mut body, y, bar, longest);
                y += BAR_STEP;
            }
        }
    }
    let height = y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"title\">\n<title id=\"title\">{}</title>\n\
         <style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n{body}</svg>\n",
        escaped(title)
    )
}

fn draw_bar(body: &mut String, y: usize, bar: &Bar, longest: f64) {
    let room = (WIDTH - BARS_X - NUMBER_WIDTH - MARGIN) as f64;
    // A bar of nothing would not be seen.
    let width = if longest > 0.0 { (bar.value / longest * room).max(1.0) } else { 1.0 };
    let class = if bar.is_ours { "ours" } else { "bar" };
    text(body, "label", BARS_X - 8, y + BASELINE, &bar.label);
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{BARS_X}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
         rx=\"2\"/>"
    );
    let number_x = BARS_X as f64 + width + 6.0;
    let _ = writeln!(body, "<text x=\"{number_x:.1}\" y=\"{}\">{}</text>", y + BASELINE, escaped(&bar.shown));
}

fn text(body: &mut String, class: &str, x: usize, y: usize, content: &str) {
    let _ = writeln!(body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(content));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
