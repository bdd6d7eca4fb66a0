//! From a form to a verified principal: a form carries its own signature, over its policy.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-UsingHTTPPOST.html>. The string to sign is
//! the policy itself, in base64. With `AWS4-SR25519-SHA256` the hotkey signs that string; such a policy has
//! to hold the exact condition `{"host": "…"}` with a name of this server, which stands in for the signed
//! `host` header of other requests: without it a form could be replayed from another deployment. And it has
//! to hold the form's `x-amz-date` exactly: the signing key of HMAC binds the day, a hotkey's signature binds
//! nothing but the policy.
//!
//! Invariant: a [`VerifiedForm`] comes from [`Verifier::verify_form`] alone.

use std::borrow::Cow;

use super::{
    Verifier,
    bittensor::sr25519,
    session::PresentedSession,
    signature_mismatch,
    sigv4::{
        PRESIGNED_SECONDS_MAX,
        claim::{Claim, Scheme},
        post_policy::{HOST, PostForm, PostPolicy},
    },
};
use crate::{
    chain::AccountId,
    error::{Code, Error, Reason, Result},
    time::UnixTime,
};

/// The field that says when a form was signed.
const DATE: &str = "x-amz-date";

/// A form whose policy is signed. What its key may be is not decided yet.
#[derive(Debug)]
pub(crate) struct VerifiedForm {
    hotkey: AccountId,
    policy: PostPolicy,
}

impl VerifiedForm {
    /// Who signed the policy.
    pub(crate) fn hotkey(&self) -> AccountId {
        self.hotkey
    }

    /// What was signed.
    pub(crate) fn policy(&self) -> &PostPolicy {
        &self.policy
    }
}

impl Verifier {
    /// Turns the fields of a form into a verified principal and its policy.
    ///
    /// # Errors
    /// `AccessDenied` starting `Anonymous: ` for a form without a policy; `InvalidArgument` for missing or
    /// doubled fields; those of [`Claim::check_scope`], [`Claim::check_expiry`] and of sessions;
    /// `InvalidPolicyDocument`.
    /// And those of `may_verify`, which is asked before the signature of the hotkey that is claimed is
    /// checked (P59).
    pub(crate) fn verify_form(
        &self,
        form: &PostForm<'_>,
        now: UnixTime,
        may_verify: &dyn Fn(&AccountId) -> Result<()>,
    ) -> Result<VerifiedForm> {
        for (index, (name, _)) in form.fields.iter().enumerate() {
            if form.fields.iter().skip(index.saturating_add(1)).any(|(other, _)| other == name) {
                form.field(name)?;
            }
        }
        if form.field("awsaccesskeyid")?.is_some() {
            return Err(Error::new(
                Code::InvalidRequest,
                "The authorization mechanism you have provided is not supported. \
                 Please use AWS4-HMAC-SHA256.",
            ));
        }
        let Some(policy) = form.field("policy")? else {
            return Err(Error::because(
                Code::AccessDenied,
                Reason::Anonymous,
                "the form is not signed; it needs a policy and its signature.",
            ));
        };
        let signature = form.required("x-amz-signature")?;
        let date = form.required(DATE)?;
        let malformed =
            |why: &str| Error::new(Code::InvalidArgument, format!("The form is malformed; {why}."));
        let scheme = Scheme::named(form.required("x-amz-algorithm")?)
            .ok_or_else(|| malformed("x-amz-algorithm is not AWS4-HMAC-SHA256 or AWS4-SR25519-SHA256"))?;
        let (access_key, scope) = form.required("x-amz-credential")?.split_once('/').ok_or_else(|| {
            malformed("x-amz-credential is not ACCESS_KEY_ID/yyyymmdd/REGION/s3/aws4_request")
        })?;
        let claim = Claim {
            scheme,
            access_key,
            scope,
            signature,
            date: Cow::Borrowed(date),
            time: UnixTime::from_amz(date)
                .ok_or_else(|| malformed("x-amz-date is not in the form yyyymmddThhmmssZ"))?,
            token: form.field("x-amz-security-token")?,
        };
        claim.check_scope(&self.region, |reason| {
            Error::new(Code::AuthorizationQueryParametersError, format!("The form is malformed; {reason}."))
        })?;
        // A policy has an end of its own; this bounds it by the longest life of a presigned URL.
        claim.check_expiry(self.presigned_seconds_max.min(PRESIGNED_SECONDS_MAX), now)?;
        let hotkey = match scheme {
            Scheme::Hmac => {
                let (session, ()) =
                    self.sessions.prove(&PresentedSession::of(&claim), now, |signing_key| {
                        Ok(signing_key.has_signed(policy.as_bytes(), signature).then_some(()))
                    })?;
                session.hotkey
            }
            Scheme::Sr25519 => prove_hotkey(form, &claim, policy, may_verify)?,
        };
        let policy = PostPolicy::parse(policy)?;
        match scheme {
            // The signing key of a session binds the day, and its token this server.
            Scheme::Hmac => {}
            Scheme::Sr25519 if !policy.pins(HOST, |value| value.eq_ignore_ascii_case(form.host)) => {
                return Err(not_for_this_host());
            }
            Scheme::Sr25519 if !policy.pins(DATE, |value| value == date) => return Err(not_of_this_date()),
            Scheme::Sr25519 => {}
        }
        Ok(VerifiedForm { hotkey, policy })
    }
}

/// Verifies the signature of the hotkey itself over a policy in base64.
fn prove_hotkey(
    form: &PostForm<'_>,
    claim: &Claim<'_>,
    policy: &str,
    may_verify: &dyn Fn(&AccountId) -> Result<()>,
) -> Result<AccountId> {
    let hotkey = claim.hotkey()?;
    if claim.token.is_some() {
        return Err(Error::new(
            Code::InvalidRequest,
            "A form that the hotkey signs itself carries no session token.",
        ));
    }
    if !form.is_own_host {
        return Err(not_for_this_host());
    }
    let signature = claim.sr25519_signature()?;
    may_verify(&hotkey)?;
    if sr25519::verify(&hotkey, policy.as_bytes(), &signature) {
        Ok(hotkey)
    } else {
        Err(signature_mismatch(Reason::HotkeySignatureFalse))
    }
}

fn not_for_this_host() -> Error {
    Error::because(
        Code::AccessDenied,
        Reason::HostDenied,
        "a policy that the hotkey signs itself must hold {\"host\": \"…\"} with this server's \
         name, or it could be replayed from another deployment; the operator lists the server's names in \
         server.hosts.",
    )
}

fn not_of_this_date() -> Error {
    Error::because(
        Code::AccessDenied,
        Reason::DateDenied,
        "a policy that the hotkey signs itself must hold {\"x-amz-date\": \"…\"} with the very \
         date of the form, or it could be dated anew for ever; starts-with does not bind it.",
    )
}

#[cfg(test)]
mod tests;
