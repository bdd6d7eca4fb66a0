//! Metrics as text, in Prometheus's own format or in OpenMetrics, as the scraper asks.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/> (version 0.0.4) and
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/> (1.0.0). They differ in the names of counters in
//! `HELP` and `TYPE`, and in the end.

use std::fmt::{Display, Write as _};

use super::instruments::{BOUNDS, Histogram};

/// In which form metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus's own.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics where it is named there, Prometheus's own otherwise.
    pub(crate) fn of_accept(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// The content type of the answer.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family of metrics is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label and its value.
pub(crate) type Label<'a> = (&'static str, &'a str);

/// A text of metrics that is being written, family by family.
#[derive(Debug)]
pub(crate) struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    /// Begins one.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// A family of numbers that only grow; `name` is without its `_total`.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, Kind::Counter, help)
    }

    /// A family of numbers that go up and down.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, Kind::Gauge, help)
    }

    /// A family of times.
    pub(crate) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, Kind::Histogram, help)
    }

    fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let total = match (self.format, kind) {
            (Format::Text, Kind::Counter) => "_total",
            (Format::OpenMetrics, Kind::Counter) | (_, Kind::Gauge | Kind::Histogram) => "",
        };
        let kind_name = kind.as_str();
        // Writing to a text does not fail.
        let _ = write!(self.text, "# HELP {name}{total} {help}\n# TYPE {name}{total} {kind_name}\n");
        Family { exposition: self, name, kind }
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        match self.format {
            Format::Text => {}
            Format::OpenMetrics => self.text.push_str("# EOF\n"),
        }
        self.text
    }
}

/// One family that is being written.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    exposition: &'a mut Exposition,
    name: &'static str,
    kind: Kind,
}

impl Family<'_> {
    /// Adds a series without labels.
    pub(crate) fn value(&mut self, value: impl Display) {
        self.with(&[], value);
    }

    /// Adds a series.
    pub(crate) fn with(&mut self, labels: &[Label<'_>], value: impl Display) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.sample(suffix, labels, value);
    }

    /// Adds the series of a histogram.
    pub(crate) fn times(&mut self, label: Label<'_>, histogram: &Histogram) {
        let (up_to, sum) = histogram.now();
        let bounds = BOUNDS.iter().map(|(_, shown)| *shown).chain(["+Inf"]);
        for (bound, count) in bounds.zip(up_to) {
            self.sample("_bucket", &[label, ("le", bound)], count);
        }
        self.sample("_sum", &[label], sum.as_secs_f64());
        self.sample("_count", &[label], up_to.last().copied().unwrap_or_default());
    }

    fn sample(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        let text = &mut self.exposition.text;
        text.push_str(self.name);
        text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            text.push_str(name);
            text.push_str("=\"");
            for char in value.chars() {
                match char {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    char => text.push(char),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn written(format: Format) -> String {
        let mut exposition = Exposition::new(format);
        exposition.counter("a", "Things.").with(&[("kind", "x\"\\\ny")], 3);
        exposition.gauge("b_seconds", "Time.").value(0.5);
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(2));
        exposition.histogram("c_seconds", "Times.").times(("kind", "read"), &histogram);
        exposition.finish()
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_asks_for() {
        let text = written(Format::Text);
        assert!(text.starts_with(
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{kind=\"x\\\"\\\\\\ny\"} 3\n\
             # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 0.5\n"
        ));
        assert!(text.contains("\nc_seconds_bucket{kind=\"read\",le=\"1.0\"} 0\n"));
        assert!(text.contains("\nc_seconds_bucket{kind=\"read\",le=\"2.5\"} 1\n"));
        assert!(text.contains("\nc_seconds_bucket{kind=\"read\",le=\"+Inf\"} 1\n"));
        assert!(text.ends_with("\nc_seconds_sum{kind=\"read\"} 2\nc_seconds_count{kind=\"read\"} 1\n"));

        let text = written(Format::OpenMetrics);
        assert!(text.starts_with("# HELP a Things.\n# TYPE a counter\na_total{kind="));
        assert!(text.ends_with("\n# EOF\n"));

        let asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Format::of_accept(asked), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain;version=0.0.4"] {
            assert_eq!(Format::of_accept(other), Format::Text);
        }
    }
}
