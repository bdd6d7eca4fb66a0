//! POST policies: the conditions that the fields of a form have to keep (P14, P62).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>.
//!
//! Invariants: each field but `x-amz-signature`, `file`, `policy` and `x-ignore-*` is covered by a condition;
//! the bucket is named exactly; every condition is met, and every length range. Who signed a policy is for
//! `crate::auth::form`.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    error::{Code, Error, Reason, Result},
    time::UnixTime,
};

/// Conditions of one policy; a form has at most as many fields.
const CONDITIONS_MAX: usize = 200;

/// The condition by which a policy that a hotkey signed itself says which server it is for.
pub(crate) const HOST: &str = "host";

/// The bucket is no field of the form but its address; a condition has to name it all the same.
const BUCKET: &str = "bucket";

/// A form as it arrived: its fields, names in lower case, and the host it came to.
#[derive(Clone, Copy)]
pub(crate) struct PostForm<'a> {
    /// The fields in their order.
    pub(crate) fields: &'a [(String, String)],
    /// The `Host` of the request.
    pub(crate) host: &'a str,
    /// Whether the host is one of this server's own names.
    pub(crate) is_own_host: bool,
}

/// Field names and values alone are no secret, but among them are token and signature (P51).
impl fmt::Debug for PostForm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostForm({} fields for {})", self.fields.len(), self.host)
    }
}

impl<'a> PostForm<'a> {
    /// The one value of a field.
    ///
    /// # Errors
    /// `InvalidArgument` where it is there twice.
    pub(crate) fn field(&self, name: &str) -> Result<Option<&'a str>> {
        let mut values = self.fields.iter().filter(|(other, _)| other == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::new(
                Code::InvalidArgument,
                format!("The form field {name:?} may be there once only."),
            )),
            (first, None) => Ok(first.map(|(_, value)| value.as_str())),
        }
    }

    /// The one value of a field that must be there and not empty.
    ///
    /// # Errors
    /// `InvalidArgument`, with `ArgumentName` where it is missing.
    pub(crate) fn required(&self, name: &'static str) -> Result<&'a str> {
        self.field(name)?.filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::new(
                Code::InvalidArgument,
                format!(
                    "Bucket POST must contain a field named '{name}'. If it is specified, please check the \
                     order of the fields."
                ),
            )
            .element("ArgumentName", name)
        })
    }
}

/// A policy, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostPolicy {
    expires_at: UnixTime,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Equal(String, String),
    StartsWith(String, String),
    ContentLength(u64, u64),
}

impl PostPolicy {
    /// Reads the base64 of a policy document.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`.
    pub fn parse(base64: &str) -> Result<Self> {
        let bytes = STANDARD.decode(base64).map_err(|_| invalid("it is not base64"))?;
        let document: Value = serde_json::from_slice(&bytes).map_err(|_| invalid("it is not JSON"))?;
        let document = document.as_object().ok_or_else(|| invalid("it is not a JSON object"))?;
        if let Some(name) =
            document.keys().find(|name| !["expiration", "conditions"].contains(&name.as_str()))
        {
            return Err(invalid(&format!("unexpected: {name:?}")));
        }
        let expires_at = document.get("expiration").and_then(Value::as_str).and_then(expiration);
        let expires_at =
            expires_at.ok_or_else(|| invalid("its expiration is not a time such as 2026-11-21T12:00:00Z"))?;
        let conditions = document.get("conditions").and_then(Value::as_array);
        let conditions = conditions
            .filter(|conditions| conditions.len() <= CONDITIONS_MAX)
            .ok_or_else(|| invalid("its conditions are not a list of at most 200"))?;
        let conditions = conditions.iter().map(Condition::parse).collect::<Result<_>>()?;
        Ok(Self { expires_at, conditions })
    }

    /// Whether there is an exact condition on that field with such a value.
    pub(crate) fn pins(&self, field: &str, is_it: impl Fn(&str) -> bool) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Equal(name, value) => name == field && is_it(value),
            Condition::StartsWith(..) | Condition::ContentLength(..) => false,
        })
    }

    /// Checks the form's fields against every condition, with the key as `${filename}` has made it.
    ///
    /// # Errors
    /// `AccessDenied` starting `Invalid according to Policy: `.
    pub(crate) fn check(&self, form: &PostForm<'_>, key: &str, bucket: &str, now: UnixTime) -> Result<()> {
        if now >= self.expires_at {
            return Err(denied("Policy expired."));
        }
        // Without it the form would count at every bucket of its signer; a beginning of a name may be empty.
        if !self.pins(BUCKET, |_| true) {
            return Err(denied("Extra input fields: bucket. A condition must name the bucket exactly."));
        }
        for condition in &self.conditions {
            let value = |name: &str| -> Result<Cow<'_, str>> {
                Ok(match name {
                    "key" => Cow::Owned(key.to_owned()),
                    BUCKET => Cow::Owned(bucket.to_owned()),
                    HOST => Cow::Owned(form.host.to_ascii_lowercase()),
                    _ => Cow::Owned(form.field(name)?.unwrap_or_default().to_owned()),
                })
            };
            let (is_met, shown) = match condition {
                Condition::Equal(name, wanted) if name == HOST => {
                    (wanted.eq_ignore_ascii_case(form.host), ["eq", name, wanted])
                }
                Condition::Equal(name, wanted) => (value(name)? == *wanted, ["eq", name, wanted]),
                Condition::StartsWith(name, wanted) => {
                    (value(name)?.starts_with(wanted.as_str()), ["starts-with", name, wanted])
                }
                Condition::ContentLength(..) => continue,
            };
            if !is_met {
                let [operator, name, wanted] = shown;
                return Err(denied(&format!(
                    "Policy Condition failed: [\"{operator}\", \"${name}\", \"{wanted}\"]"
                )));
            }
        }
        self.check_covered(form)
    }

    fn check_covered(&self, form: &PostForm<'_>) -> Result<()> {
        let is_covered = |field: &str| {
            ["x-amz-signature", "file", "policy"].contains(&field)
                || field.starts_with("x-ignore-")
                || self.conditions.iter().any(|condition| match condition {
                    Condition::Equal(name, _) | Condition::StartsWith(name, _) => name == field,
                    Condition::ContentLength(..) => false,
                })
        };
        match form.fields.iter().find(|(field, _)| !is_covered(field)) {
            Some((field, _)) => Err(denied(&format!("Extra input fields: {field}"))),
            None => Ok(()),
        }
    }

    /// Checks the length of the file against every range.
    ///
    /// # Errors
    /// `EntityTooSmall`, `EntityTooLarge`.
    pub fn check_length(&self, file_bytes: u64) -> Result<()> {
        for condition in &self.conditions {
            let Condition::ContentLength(min, max) = condition else { continue };
            let refused = |code, message: &'static str| {
                Error::new(code, message).element("ProposedSize", file_bytes.to_string())
            };
            if file_bytes < *min {
                return Err(refused(
                    Code::EntityTooSmall,
                    "Your proposed upload is smaller than the minimum allowed size",
                )
                .element("MinSizeAllowed", min.to_string()));
            }
            if file_bytes > *max {
                return Err(refused(
                    Code::EntityTooLarge,
                    "Your proposed upload exceeds the maximum allowed size",
                )
                .element("MaxSizeAllowed", max.to_string()));
            }
        }
        Ok(())
    }
}

impl Condition {
    fn parse(value: &Value) -> Result<Self> {
        match value {
            Value::Object(pairs) => match (pairs.len(), pairs.iter().next()) {
                (1, Some((name, Value::String(value)))) => {
                    Ok(Self::Equal(name.to_ascii_lowercase(), value.clone()))
                }
                _ => Err(invalid("a condition in braces is not one field with its text")),
            },
            Value::Array(parts) => Self::of_list(parts),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Err(invalid("a condition is neither in braces nor in brackets"))
            }
        }
    }

    fn of_list(parts: &[Value]) -> Result<Self> {
        let [Value::String(operator), first, second] = parts else {
            return Err(invalid("a condition in brackets has not three parts"));
        };
        if operator.eq_ignore_ascii_case("content-length-range") {
            return match (number(first), number(second)) {
                (Some(min), Some(max)) if min <= max => Ok(Self::ContentLength(min, max)),
                _ => Err(invalid("content-length-range needs two numbers, the smaller first")),
            };
        }
        let (Some(name), Some(value)) =
            (first.as_str().and_then(|name| name.strip_prefix('$')), second.as_str())
        else {
            return Err(invalid("a condition needs \"$field\" and a text"));
        };
        let (name, value) = (name.to_ascii_lowercase(), value.to_owned());
        match operator.to_ascii_lowercase().as_str() {
            "eq" => Ok(Self::Equal(name, value)),
            "starts-with" => Ok(Self::StartsWith(name, value)),
            _ => Err(invalid("a condition is not eq, starts-with or content-length-range")),
        }
    }
}

/// The time of an expiration, in the one form that S3 defines: `2026-11-21T16:00:00.000Z`, the fraction of
/// the second left out or not.
fn expiration(text: &str) -> Option<UnixTime> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let (whole, rest) = text.split_at_checked(FORM.len())?;
    let fits = |(form, byte): (&u8, u8)| match form {
        b'd' => byte.is_ascii_digit(),
        form => byte == *form,
    };
    let fraction = match rest.strip_suffix('Z')? {
        "" => "0",
        fraction => fraction.strip_prefix('.')?,
    };
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    (is_fraction && FORM.iter().zip(whole.bytes()).all(fits)).then(|| UnixTime::from_rfc3339(text)).flatten()
}

/// A number, or the text of one, as some SDKs write it.
fn number(value: &Value) -> Option<u64> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    value.as_u64().or_else(|| value.as_str().filter(digits)?.parse().ok())
}

fn invalid(why: &str) -> Error {
    Error::new(
        Code::InvalidPolicyDocument,
        format!(
            "The content of the form does not meet the conditions specified in the policy document: {why}."
        ),
    )
}

fn denied(why: &str) -> Error {
    Error::new(Code::AccessDenied, format!("Invalid according to Policy: {why}")).reason(Reason::PolicyNotMet)
}

#[cfg(test)]
mod tests;
