//! What the evidence in a session token says, of whichever kind. Nothing in it is proven.

use crate::{
    auth::bittensor::{
        btauth::SignedRequest,
        tao::SignedBodyEvidence,
        vending::{self, SignedString},
    },
    chain::AccountId,
    time::UnixTime,
};

/// Method and path that evidence of btauth/1 must have been signed for.
const SESSION_ENDPOINT: (&str, &str) = ("POST", "/v1/session");

/// The kinds of evidence; which one a text is follows from the text, and the token says it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EvidenceKind {
    /// A request of btauth/1.
    Btauth,
    /// A string of the vending server.
    Vending,
    /// A body with X-Tao headers.
    Tao,
}

impl EvidenceKind {
    pub(super) fn of(evidence: &str) -> Self {
        let signed = evidence.split_once('\n').map_or(evidence, |(_, signed)| signed);
        match (SignedRequest::is_begun_by(evidence), vending::is_begun_by(signed)) {
            (true, _) => Self::Btauth,
            (false, true) => Self::Vending,
            (false, false) => Self::Tao,
        }
    }

    /// The kind as it stands in a token.
    pub(super) fn wire_byte(self) -> u8 {
        match self {
            Self::Btauth => 1,
            Self::Vending => 2,
            Self::Tao => 3,
        }
    }
}

/// What a hotkey asked for when it signed evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A session, whose secret it gets.
    Session,
    /// URLs and forms, which the server signs. The secret stays here.
    Links,
    /// Neither.
    Other,
}

/// What evidence says.
pub(super) struct Statement<'a> {
    /// Who says to have signed it.
    pub(super) sender: AccountId,
    /// For which server; btauth/1 alone names one.
    pub(super) receiver: Option<AccountId>,
    /// When, by the signer's clock.
    pub(super) signed_at: UnixTime,
    /// What for.
    pub(super) purpose: Purpose,
    /// What the hotkey signed.
    pub(super) signed_text: &'a str,
}

impl<'a> Statement<'a> {
    /// Reads evidence; `None` where it is of no kind.
    pub(super) fn parse(evidence: &'a str) -> Option<Self> {
        match EvidenceKind::of(evidence) {
            EvidenceKind::Btauth => {
                let request = SignedRequest::parse(evidence)?;
                Some(Self {
                    sender: request.sender,
                    receiver: request.receiver,
                    signed_at: UnixTime::from_nanos(request.nonce_nanos),
                    purpose: match (request.method, request.target) {
                        SESSION_ENDPOINT => Purpose::Session,
                        _ => Purpose::Other,
                    },
                    signed_text: evidence,
                })
            }
            EvidenceKind::Vending => {
                let SignedString { hotkey, signed_at, string } = SignedString::parse(evidence)?;
                Some(Self {
                    sender: hotkey,
                    receiver: None,
                    signed_at,
                    purpose: Purpose::Links,
                    signed_text: string,
                })
            }
            EvidenceKind::Tao => {
                let SignedBodyEvidence { hotkey, signed_at, text } = SignedBodyEvidence::parse(evidence)?;
                Some(Self {
                    sender: hotkey,
                    receiver: None,
                    signed_at,
                    purpose: Purpose::Links,
                    signed_text: text,
                })
            }
        }
    }
}
