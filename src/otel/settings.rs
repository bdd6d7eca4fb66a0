//! The standard variables of the environment, as checked values.
//!
//! Specifications: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. An empty variable counts as one that is not
//! set; a fault names the variable, and shows no value that may be a secret.

use std::{path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// A variable of the environment cannot be used; or the collector's authorities cannot.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {fault}")]
pub(crate) struct TracesError {
    pub(super) variable: String,
    pub(super) fault: String,
}

/// Which requests have a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sampler {
    /// As the parent has it; where there is none, as said here.
    ByParent(Root),
    /// As said here, whatever the parent has.
    Always(Root),
}

/// How traces that begin here are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    On,
    Off,
    /// Those whose id, as a number of 63 bits, is below this.
    Ratio(u64),
}

/// How traces are exported. Headers are marked as sensitive: `Debug` does not show them.
#[derive(Debug)]
pub(crate) struct Settings {
    /// With the path.
    pub(super) endpoint: Uri,
    pub(super) headers: HeaderMap,
    /// PEM; the collector's authorities beside those of the system.
    pub(super) ca_file: Option<PathBuf>,
    /// From the connection to the last byte of the answer.
    pub(super) export_time_max: Duration,
    /// Between two batches, unless one is full.
    pub(super) interval: Duration,
    pub(super) sampler: Sampler,
    /// `service.name` among them.
    pub(super) resource: Vec<(String, String)>,
}

const PREFIX: &str = "OTEL_EXPORTER_OTLP_";
const TRACES_PREFIX: &str = "OTEL_EXPORTER_OTLP_TRACES_";

impl Settings {
    /// By what `variable` says of the environment; none where it names no endpoint, or switches traces off.
    ///
    /// # Errors
    /// A variable that cannot be obeyed.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TracesError> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let exporter = |name: &str| {
            let own = [TRACES_PREFIX, PREFIX].map(|prefix| format!("{prefix}{name}"));
            own.into_iter().find_map(|name| get(&name).map(|value| (name, value)))
        };
        let is_disabled = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some((name, endpoint)) = exporter("ENDPOINT").filter(|_| !is_disabled) else { return Ok(None) };
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => return Err(fault("OTEL_TRACES_EXPORTER", "is one of otlp, none")),
        }
        let endpoint = self::endpoint(&name, &endpoint)?;
        if let Some((name, protocol)) = exporter("PROTOCOL")
            && protocol != "http/json"
        {
            let what =
                "only http/json is spoken here; unset it, and name a collector's port for OTLP over HTTP";
            return Err(fault(&name, what));
        }
        if let Some((name, compression)) = exporter("COMPRESSION")
            && compression != "none"
        {
            return Err(fault(&name, "only none is possible here; unset it"));
        }
        let headers = match exporter("HEADERS") {
            Some((name, list)) => headers(&name, &list)?,
            None => HeaderMap::new(),
        };
        let milliseconds = |given: Option<(String, String)>, default: u64| match given {
            Some((name, value)) => milliseconds(&name, &value),
            None => Ok(Duration::from_millis(default)),
        };
        let delay = "OTEL_BSP_SCHEDULE_DELAY";
        Ok(Some(Self {
            endpoint,
            headers,
            ca_file: exporter("CERTIFICATE").map(|(_, file)| file.into()),
            export_time_max: milliseconds(exporter("TIMEOUT"), 10_000)?,
            interval: milliseconds(get(delay).map(|value| (delay.to_owned(), value)), 5_000)?,
            sampler: sampler(get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"))?,
            resource: resource(get("OTEL_RESOURCE_ATTRIBUTES"), get("OTEL_SERVICE_NAME"))?,
        }))
    }
}

fn fault(variable: &str, fault: impl Into<String>) -> TracesError {
    TracesError { variable: variable.to_owned(), fault: fault.into() }
}

/// The common endpoint is where the paths of all signals begin; that of traces is taken as it is.
fn endpoint(name: &str, given: &str) -> Result<Uri, TracesError> {
    let is_whole = name.starts_with(TRACES_PREFIX);
    let text = match is_whole {
        true => given.to_owned(),
        false => format!("{}/v1/traces", given.trim_end_matches('/')),
    };
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let has_no_user = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        has_scheme && has_host && has_no_user && (is_whole || uri.query().is_none())
    });
    uri.ok_or_else(|| fault(name, "is not a URL such as http://127.0.0.1:4318"))
}

/// `a=1,b=2`, with values in percent encoding.
fn pairs(name: &str, list: &str) -> Result<Vec<(String, String)>, TracesError> {
    let mut pairs = Vec::new();
    for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let pair = pair.split_once('=').and_then(|(key, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((key.trim().to_owned(), value.into_owned()))
        });
        pairs.push(pair.ok_or_else(|| fault(name, "is not a list such as name=value,name=value"))?);
    }
    Ok(pairs)
}

fn headers(name: &str, list: &str) -> Result<HeaderMap, TracesError> {
    let mut headers = HeaderMap::new();
    for (key, value) in pairs(name, list)? {
        let pair = key.parse::<HeaderName>().ok().zip(HeaderValue::from_str(&value).ok());
        let Some((key, mut value)) = pair else {
            return Err(fault(name, "holds what cannot be a header of HTTP"));
        };
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

fn milliseconds(name: &str, value: &str) -> Result<Duration, TracesError> {
    let milliseconds = value.parse::<u64>().ok().filter(|value| (1..=60_000).contains(value));
    let milliseconds =
        milliseconds.ok_or_else(|| fault(name, "is not a number of milliseconds up to 60000"))?;
    Ok(Duration::from_millis(milliseconds))
}

fn sampler(name: Option<String>, argument: Option<String>) -> Result<Sampler, TracesError> {
    let ratio = || {
        let given = argument.as_deref().unwrap_or("1").parse::<f64>().ok();
        let ratio = given.filter(|ratio| (0.0..=1.0).contains(ratio));
        let ratio = ratio.ok_or_else(|| fault("OTEL_TRACES_SAMPLER_ARG", "is not a number from 0 to 1"))?;
        Ok(Root::Ratio(share_of(1 << 63, ratio)))
    };
    Ok(match name.as_deref() {
        None | Some("parentbased_always_on") => Sampler::ByParent(Root::On),
        Some("parentbased_always_off") => Sampler::ByParent(Root::Off),
        Some("parentbased_traceidratio") => Sampler::ByParent(ratio()?),
        Some("always_on") => Sampler::Always(Root::On),
        Some("always_off") => Sampler::Always(Root::Off),
        Some("traceidratio") => Sampler::Always(ratio()?),
        Some(_) => {
            let known = "always_on, always_off, traceidratio, and each of them with parentbased_ before it";
            return Err(fault("OTEL_TRACES_SAMPLER", format!("is one of {known}")));
        }
    })
}

/// That share of `whole`; all of it for 1.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share from 0 to 1 of a number of 64 bits is one, and a cast beyond that stops at its end"
)]
fn share_of(whole: u64, share: f64) -> u64 {
    ((whole as f64) * share) as u64
}

fn resource(list: Option<String>, service: Option<String>) -> Result<Vec<(String, String)>, TracesError> {
    let mut attributes = match list {
        Some(list) => pairs("OTEL_RESOURCE_ATTRIBUTES", &list)?,
        None => Vec::new(),
    };
    let has_name = attributes.iter().any(|(key, _)| key == "service.name");
    if service.is_some() || !has_name {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.insert(0, ("service.name".to_owned(), service.unwrap_or_else(|| "subgate".to_owned())));
    }
    if !attributes.iter().any(|(key, _)| key == "service.version") {
        attributes.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Settings>, TracesError> {
        Settings::of(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel.example.com:4318/in/");

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        assert!(of(&[("OTEL_SERVICE_NAME", "s3"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap().is_none());
        assert!(of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        assert!(of(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
    }

    #[test]
    fn the_variables_are_read_as_they_are_specified() {
        let settings = of(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!(settings.endpoint, "https://otel.example.com:4318/in/v1/traces");
        assert_eq!(settings.sampler, Sampler::ByParent(Root::On));
        assert_eq!(settings.resource.first().unwrap(), &("service.name".to_owned(), "subgate".to_owned()));
        let settings = of(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/own"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20hunter2, x-scope = a"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
            ("OTEL_SERVICE_NAME", "s3"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x,deployment.environment.name=prod"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://127.0.0.1:1/own");
        assert_eq!(settings.headers["authorization"], "Bearer hunter2");
        assert_eq!(settings.headers["x-scope"], "a");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.sampler, Sampler::Always(Root::Ratio(1 << 62)));
        let names: Vec<_> = settings.resource.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(names[..2], ["service.name=s3", "deployment.environment.name=prod"]);
    }

    #[test]
    fn p51_what_cannot_be_obeyed_is_refused_by_its_name_and_without_its_value() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "hunter2"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://hunter2"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:hunter2@host"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0a"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ] {
            let error = of(&[ENDPOINT, (name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: ")) && !error.contains("hunter2"), "{error}");
        }
        let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert!(of(&ratio).unwrap_err().to_string().starts_with("OTEL_TRACES_SAMPLER_ARG: "));
    }
}
