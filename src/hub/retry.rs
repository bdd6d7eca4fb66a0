//! Which answers of the Hub and its storage are asked for again, and after how long.
//!
//! The Hub says how long its limit lasts by `Retry-After`, or by `RateLimit: "api";r=0;t=55`
//! (<https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-09.html>).

use std::time::Duration;

use http::{HeaderMap, StatusCode};

/// One question is put so often at most.
pub(super) const TRIES_MAX: u32 = 8;

/// The Hub's limits count in windows of five minutes.
const PAUSE_MAX: Duration = Duration::from_secs(330);

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Whether the same question may get another answer soon.
pub(super) fn is_worth_another_try(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before the next try, after `tries` of them; `None` where it is not worth it. `jitter` is
/// between 0 and 1.
pub(super) fn pause(tries: u32, headers: Option<&HeaderMap>, jitter: f64) -> Option<Duration> {
    if tries >= TRIES_MAX {
        return None;
    }
    let doublings = tries.saturating_sub(1).min(16);
    let growing = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
    let own = growing.min(LAST_PAUSE).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    match headers.and_then(wait_asked_for) {
        // Somewhat later than asked for, and not all at the same moment; but one who always asks for a
        // second is not asked eight times within eight.
        Some(wait) if wait <= PAUSE_MAX => {
            Some(wait.saturating_add(Duration::from_millis(250).mul_f64(jitter)).max(own))
        }
        Some(_) => None,
        None => Some(own),
    }
}

fn wait_asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = text("retry-after").and_then(|text| text.parse().ok());
    seconds.or_else(|| text("ratelimit").and_then(seconds_of_limit)).map(Duration::from_secs)
}

/// The seconds until a limit of which nothing is left is counted anew.
fn seconds_of_limit(text: &str) -> Option<u64> {
    let value = |name: &str| {
        text.split(';').find_map(|part| {
            let (key, value) = part.split_once('=')?;
            (key.trim() == name).then(|| value.trim().parse::<u64>().ok()).flatten()
        })
    };
    (value("r")? == 0).then(|| value("t"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn what_passes_is_tried_again_and_what_is_refused_is_not() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(is_worth_another_try(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [200, 302, 400, 401, 403, 404, 409, 416, 501] {
            assert!(!is_worth_another_try(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }

    #[test]
    fn a_server_is_waited_for_as_long_as_it_says() {
        let seconds = |headers: &HeaderMap| pause(1, Some(headers), 0.0).map(|pause| pause.as_secs());
        assert_eq!(seconds(&headers("retry-after", "7")), Some(7));
        assert_eq!(seconds(&headers("ratelimit", "\"api\";r=0;t=55")), Some(55));
        assert_eq!(seconds(&headers("retry-after", "86400")), None);
        // What it says is the least: the pauses grow all the same.
        let hurried = headers("retry-after", "0");
        assert_eq!(pause(7, Some(&hurried), 1.0), Some(LAST_PAUSE));
        assert_eq!(pause(2, Some(&hurried), 0.0), pause(2, None, 0.0));
        // What says nothing of a wait is waited for as any failure.
        for (name, value) in [
            ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("retry-after", "-1"),
            ("ratelimit", "\"api\";r=5;t=55"),
            ("ratelimit", "r=0"),
        ] {
            assert_eq!(pause(1, Some(&headers(name, value)), 1.0), Some(FIRST_PAUSE), "{value}");
        }
    }

    #[test]
    fn pauses_grow_are_bounded_and_end() {
        let pauses: Vec<_> = (1..TRIES_MAX).map(|tries| pause(tries, None, 1.0).unwrap()).collect();
        assert!(pauses.is_sorted() && pauses.iter().all(|pause| *pause <= LAST_PAUSE));
        assert_eq!(pause(TRIES_MAX, None, 0.0), None);
        assert_eq!(pause(TRIES_MAX, Some(&headers("retry-after", "1")), 0.0), None);
        assert!(pause(1, None, 0.0) < pause(1, None, 1.0));
    }
}
