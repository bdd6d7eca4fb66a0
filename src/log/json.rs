//! A line of the log as JSON: `{"timestamp": …, "level": …, "message": …, …, "target": …}`, fields as they
//! are given. Written by hand, for a general serialiser took a thirtieth of a small request's time.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Writes events as lines of JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonLines;

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let level = metadata.level().as_str();
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => {
                line.clear();
                write_line(&mut line, level, metadata.target(), |fields| event.record(fields));
                writer.write_str(&line)
            }
            // A value that logs while it is shown.
            Err(_) => {
                let mut line = String::new();
                write_line(&mut line, level, metadata.target(), |fields| event.record(fields));
                writer.write_str(&line)
            }
        })
    }
}

/// The line that tells of lines which were lost.
pub(crate) fn lost_lines(lost_lines: u64) -> String {
    let mut line = String::new();
    write_line(&mut line, "WARN", super::TARGET, |fields| {
        fields.text("message", super::LOST_LINES);
        fields.number("lost_lines", lost_lines);
    });
    line
}

fn write_line(line: &mut String, level: &str, target: &str, record: impl FnOnce(&mut Fields<'_>)) {
    line.push_str("{\"timestamp\":\"");
    write_time(line, SystemTime::now());
    line.push_str("\",\"level\":\"");
    line.push_str(level);
    line.push('"');
    let mut fields = Fields { line };
    record(&mut fields);
    fields.text("target", target);
    line.push_str("}\n");
}

/// Fields on their way into a line.
struct Fields<'a> {
    line: &'a mut String,
}

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        self.line.push_str(",\"");
        // `r#type` is how Rust writes a name that is a word of its own.
        escape(self.line, name.strip_prefix("r#").unwrap_or(name));
        self.line.push_str("\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.line.push('"');
        escape(self.line, value);
        self.line.push('"');
    }

    fn number(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        let _ = write!(self.line, "{value}");
    }

    fn shown(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.name(name);
        self.line.push('"');
        let _ = Escaped(self.line).write_fmt(value);
        self.line.push('"');
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field.name(), value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.number(field.name(), value),
            // JSON has no such numbers.
            false => self.shown(field.name(), format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.shown(field.name(), format_args!("{value:?}"));
    }
}

/// Escapes what is written through it.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// Whether a character that begins with this byte may have to be escaped: the controls of C1 begin with 0xC2,
/// the separators with 0xE2.
const fn may_begin_an_escape(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\' | 0x7F | 0xC2 | 0xE2)
}

/// Appends `text` as it stands inside a string of JSON. Beside what JSON asks for, the controls that a
/// terminal obeys are escaped, and the separators that some readers take for the end of a line.
fn escape(line: &mut String, text: &str) {
    // Nearly always nothing is to be escaped. Looking at every byte without a way out in between is what a
    // compiler makes a few instructions of.
    if !text.bytes().fold(false, |any, byte| any | may_begin_an_escape(byte)) {
        line.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(may_begin_an_escape) {
        let (plain, special) = rest.split_at_checked(at).unwrap_or_default();
        line.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => line.push_str("\\\""),
            Some('\\') => line.push_str("\\\\"),
            Some('\n') => line.push_str("\\n"),
            Some('\r') => line.push_str("\\r"),
            Some('\t') => line.push_str("\\t"),
            Some(character) if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            Some(character) => line.push(character),
            None => {}
        }
        rest = characters.as_str();
    }
    line.push_str(rest);
}

/// Appends a point in time as RFC 3339 in UTC, with microseconds: `2026-11-21T23:28:02.123456Z`.
fn write_time(line: &mut String, now: SystemTime) {
    thread_local! {
        /// The last second that was written, and its text.
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            *second = since.as_secs();
            text.clear();
            write_second(text, *second);
        }
        line.push_str(text);
    });
    let _ = write!(line, ".{:06}Z", since.subsec_micros());
}

/// Appends date and time of day, by the rule of the proleptic Gregorian calendar: 400 years have 146,097
/// days.
fn write_second(text: &mut String, second: u64) {
    let (days, of_day) = (second / 86_400, second % 86_400);
    // Counted from 0000-03-01, so that the leap day is the last of its year.
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        of_era.saturating_sub(of_era / 1460).saturating_add(of_era / 36_524).saturating_sub(of_era / 146_096)
            / 365;
    let of_year =
        of_era.saturating_sub((365 * year_of_era + year_of_era / 4).saturating_sub(year_of_era / 100));
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year.saturating_sub((153 * month_from_march + 2) / 5).saturating_add(1);
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march.saturating_sub(9) };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc, sync::Mutex, time::Duration};

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn p51_a_line_is_one_object_whatever_stands_in_its_fields() {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer =
            tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(move || writer.clone());
        let every: String = (0_u8..=127).map(char::from).chain("äß€😀é\u{2027}\u{202a}".chars()).collect();
        let controls = ('\u{7f}'..='\u{a1}').chain(['\u{2028}', '\u{2029}']);
        let every: String = every.chars().chain(controls).collect();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(
                target: "subgate::access", every, shown = %every, number = 7_u64, less = -7_i64, is = true,
                none = None::<u64>, half = 0.5, nan = f64::NAN, debug = ?Some("x\"y"), "a {} message", "\"\n"
            );
            tracing::warn!("bare");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 2);
        let is_obeyed = |it: char| it != '\n' && (it.is_control() || matches!(it, '\u{2028}' | '\u{2029}'));
        assert!(!text.contains(is_obeyed), "{text:?}");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let line = &lines[0];
        for (name, expected) in [
            ("level", "INFO".into()),
            ("message", "a \"\n message".into()),
            ("target", "subgate::access".into()),
            ("every", Value::from(every.clone())),
            ("shown", Value::from(every)),
            ("number", 7.into()),
            ("less", (-7).into()),
            ("is", true.into()),
            ("half", 0.5.into()),
            ("nan", "NaN".into()),
            ("debug", "Some(\"x\\\"y\")".into()),
        ] {
            assert_eq!(line[name], expected, "{name}");
        }
        assert!(line.get("none").is_none());
        assert_eq!(lines[1]["message"], "bare");
        let lost: Value = serde_json::from_str(&lost_lines(12)).unwrap();
        assert_eq!((&lost["lost_lines"], &lost["level"]), (&12.into(), &"WARN".into()));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (second, shown) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut line = String::new();
            write_time(&mut line, UNIX_EPOCH + Duration::from_secs(second));
            assert_eq!(line, shown);
        }
        // Every day for 200 years, against another reckoning.
        for day in 0..73_000_u64 {
            let mut text = String::new();
            write_second(&mut text, day * 86_400 + 3_661);
            let expected =
                jiff::Timestamp::from_second((day * 86_400 + 3_661).cast_signed()).unwrap().to_string();
            assert_eq!(format!("{text}Z"), expected);
        }
    }
}
