//! POST policies: a form that carries its own signature, and the conditions its fields have to keep (P14).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>. The string to sign is
//! the policy itself, in base64. With `AWS4-SR25519-SHA256` the hotkey signs that string; such a policy has to hold the
//! exact condition `{"host": "…"}` with a name of this server, which stands in for the signed `host` header of other
//! requests: without it a form could be replayed from another deployment. And it has to hold the form's `x-amz-date`
//! exactly: the signing key of HMAC binds the day, a hotkey's signature binds nothing but the policy.
//!
//! Invariants: a [`VerifiedForm`] comes from [`Verifier::verify_form`] alone; each field but `x-amz-signature`, `file`,
//! `policy` and `x-ignore-*` is covered by a condition; every condition holds, and every length range.

use std::borrow::Cow;

use aws_sigv4::sign::v4::calculate_signature;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Claim, Scheme};
use crate::{
    auth::{
        Declared, Verifier,
        bittensor::sr25519::{self, SIGNATURE_BYTES},
        session::{Presented, mismatch},
        sigv4,
    },
    chain::AccountId,
    error::{Code, Error, Result},
    secret::same,
    time::UnixTime,
};

/// Conditions of one policy; a form has at most as many fields.
const CONDITIONS_MAX: usize = 200;

/// The condition by which a policy that a hotkey signed itself says for which server.
const HOST: &str = "host";

/// The field that says when a form was signed.
const DATE: &str = "x-amz-date";

/// A form as it arrived: its fields, names in lower case, and the host it came to.
#[derive(Clone, Copy)]
pub struct PostForm<'a> {
    /// The fields in their order.
    pub fields: &'a [(String, String)],
    /// The `Host` of the request.
    pub host: &'a str,
    /// Whether that is one of this server's own names.
    pub is_own_host: bool,
}

/// Field names and values alone are no secret, but among them are token and signature (P51).
impl std::fmt::Debug for PostForm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostForm({} fields for {})", self.fields.len(), self.host)
    }
}

impl<'a> PostForm<'a> {
    /// The one value of a field.
    ///
    /// # Errors
    /// `InvalidArgument` where it is there twice.
    pub fn field(&self, name: &str) -> Result<Option<&'a str>> {
        let mut values = self.fields.iter().filter(|(other, _)| other == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::new(
                Code::InvalidArgument,
                format!("The form field {name:?} may be there once only."),
            )),
            (first, None) => Ok(first.map(|(_, value)| value.as_str())),
        }
    }

    fn required(&self, name: &'static str) -> Result<&'a str> {
        self.field(name)?.filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::new(
                Code::InvalidArgument,
                format!("Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the fields."),
            )
            .element("ArgumentName", name)
        })
    }
}

/// A form whose policy is signed. What its key may be is not decided yet.
#[derive(Debug)]
pub struct VerifiedForm {
    hotkey: AccountId,
    scheme: Scheme,
    policy: PostPolicy,
}

impl VerifiedForm {
    /// Who signed the policy.
    pub fn hotkey(&self) -> AccountId {
        self.hotkey
    }

    /// How it was signed.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What was signed.
    pub fn policy(&self) -> &PostPolicy {
        &self.policy
    }
}

impl Verifier {
    /// Turns the fields of a form into a verified principal and its policy.
    ///
    /// # Errors
    /// `AccessDenied` starting `Anonymous: ` for a form without a policy; `InvalidArgument` for missing or doubled
    /// fields; those of [`Claim::check`] and of sessions; `InvalidPolicyDocument`.
    pub fn verify_form(&self, form: &PostForm<'_>, now: UnixTime) -> Result<VerifiedForm> {
        for (index, (name, _)) in form.fields.iter().enumerate() {
            if form.fields.iter().skip(index.saturating_add(1)).any(|(other, _)| other == name) {
                form.field(name)?;
            }
        }
        if form.field("awsaccesskeyid")?.is_some() {
            return Err(Error::new(
                Code::InvalidRequest,
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ));
        }
        let Some(policy) = form.field("policy")? else {
            return Err(Error::new(
                Code::AccessDenied,
                "Anonymous: the form is not signed; it needs a policy and its signature.",
            ));
        };
        let signature = form.required("x-amz-signature")?;
        let date = form.required(DATE)?;
        let refused = |why: &str| Error::new(Code::InvalidArgument, format!("The form is malformed; {why}."));
        let scheme = Scheme::named(form.required("x-amz-algorithm")?)
            .ok_or_else(|| refused("x-amz-algorithm is not AWS4-HMAC-SHA256 or AWS4-SR25519-SHA256"))?;
        let (access_key, scope) = form.required("x-amz-credential")?.split_once('/').ok_or_else(|| {
            refused("x-amz-credential is not ACCESS_KEY_ID/yyyymmdd/REGION/s3/aws4_request")
        })?;
        let claim = Claim {
            scheme,
            // A policy has an end of its own; this bounds it by S3's longest presigned life.
            expires_seconds: Some(self.presigned_seconds_max.min(sigv4::PRESIGNED_SECONDS_MAX)),
            access_key,
            scope,
            signed_headers: "",
            signature,
            date: Cow::Borrowed(date),
            time: UnixTime::from_amz(date)
                .ok_or_else(|| refused("x-amz-date is not in the form yyyymmddThhmmssZ"))?,
            token: form.field("x-amz-security-token")?,
            payload: Declared::Unsigned,
            payload_text: "",
        };
        claim.check(&self.region, self.presigned_seconds_max, now)?;
        let hotkey = match scheme {
            Scheme::Hmac => {
                let presented = Presented {
                    access_key,
                    token: claim.token,
                    day: scope.split('/').next().unwrap_or_default(),
                    time: claim.time,
                };
                let (session, ()) = self.sessions.prove(&presented, now, |signing_key| {
                    let ours = calculate_signature(signing_key, policy.as_bytes());
                    Ok(same(ours.as_bytes(), signature.as_bytes()).then_some(()))
                })?;
                session.hotkey
            }
            Scheme::Sr25519 => prove_hotkey(form, &claim, policy)?,
        };
        let policy = PostPolicy::parse(policy)?;
        if scheme == Scheme::Sr25519 {
            if !policy.pins(HOST, |value| value.eq_ignore_ascii_case(form.host)) {
                return Err(not_for_this_host());
            }
            if !policy.pins(DATE, |value| value == date) {
                return Err(not_of_this_date());
            }
        }
        Ok(VerifiedForm { hotkey, scheme, policy })
    }
}

fn prove_hotkey(form: &PostForm<'_>, claim: &Claim<'_>, policy: &str) -> Result<AccountId> {
    let hotkey: AccountId = claim.access_key.parse().map_err(|error| {
        Error::new(
            Code::InvalidAccessKeyId,
            format!("The AWS Access Key Id must be a hotkey, and this is {error}."),
        )
    })?;
    if claim.token.is_some() {
        return Err(Error::new(
            Code::InvalidRequest,
            "A form that the hotkey signs itself carries no session token.",
        ));
    }
    if !form.is_own_host {
        return Err(not_for_this_host());
    }
    let mut signature = [0; SIGNATURE_BYTES];
    hex::decode_to_slice(claim.signature, &mut signature).map_err(|_| mismatch())?;
    match sr25519::verify(&hotkey, policy.as_bytes(), &signature) {
        true => Ok(hotkey),
        false => Err(mismatch()),
    }
}

fn not_for_this_host() -> Error {
    Error::new(
        Code::AccessDenied,
        "HostDenied: a policy that the hotkey signs itself must hold {\"host\": \"…\"} with this server's name, or it \
         could be replayed from another deployment; the operator lists the server's names in server.hosts.",
    )
}

fn not_of_this_date() -> Error {
    Error::new(
        Code::AccessDenied,
        "DateDenied: a policy that the hotkey signs itself must hold {\"x-amz-date\": \"…\"} with the very date of the \
         form, or it could be dated anew for ever; starts-with does not bind it.",
    )
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
        let expires_at = document.get("expiration").and_then(Value::as_str).and_then(UnixTime::from_rfc3339);
        let expires_at =
            expires_at.ok_or_else(|| invalid("its expiration is not a time such as 2026-11-21T12:00:00Z"))?;
        let conditions = document.get("conditions").and_then(Value::as_array);
        let conditions = conditions
            .filter(|conditions| conditions.len() <= CONDITIONS_MAX)
            .ok_or_else(|| invalid("its conditions are not a list of at most 200"))?;
        let conditions = conditions.iter().map(Condition::parse).collect::<Result<_>>()?;
        Ok(Self { expires_at, conditions })
    }

    /// When it ends.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// Whether an exact condition on that field holds such a value.
    fn pins(&self, field: &str, is_it: impl Fn(&str) -> bool) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Equal(name, value) => name == field && is_it(value),
            Condition::StartsWith(..) | Condition::ContentLength(..) => false,
        })
    }

    /// Holds the form's fields to every condition, with the key as `${filename}` has made it.
    ///
    /// # Errors
    /// `AccessDenied` starting `Invalid according to Policy: `.
    pub fn check(&self, form: &PostForm<'_>, key: &str, bucket: &str, now: UnixTime) -> Result<()> {
        if now >= self.expires_at {
            return Err(denied("Policy expired."));
        }
        for condition in &self.conditions {
            let value = |name: &str| -> Result<Cow<'_, str>> {
                Ok(match name {
                    "key" => Cow::Owned(key.to_owned()),
                    "bucket" => Cow::Owned(bucket.to_owned()),
                    HOST => Cow::Owned(form.host.to_ascii_lowercase()),
                    _ => Cow::Owned(form.field(name)?.unwrap_or_default().to_owned()),
                })
            };
            let (holds, shown) = match condition {
                Condition::Equal(name, wanted) if name == HOST => {
                    (wanted.eq_ignore_ascii_case(form.host), ["eq", name, wanted])
                }
                Condition::Equal(name, wanted) => (value(name)? == *wanted, ["eq", name, wanted]),
                Condition::StartsWith(name, wanted) => {
                    (value(name)?.starts_with(wanted.as_str()), ["starts-with", name, wanted])
                }
                Condition::ContentLength(..) => continue,
            };
            if !holds {
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

    /// Holds the length of the file to every range.
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
    Error::new(Code::AccessDenied, format!("Invalid according to Policy: {why}"))
}

#[cfg(test)]
mod tests;
