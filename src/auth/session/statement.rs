//! What the evidence in a session token says, of either kind. Nothing in it is proven.

use crate::{
    auth::bittensor::{btauth::SignedRequest, vending::SignedString},
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
}

impl EvidenceKind {
    pub(super) fn of(evidence: &str) -> Self {
        if SignedRequest::is_begun_by(evidence) { Self::Btauth } else { Self::Vending }
    }

    /// The kind as it stands in a token.
    pub(super) fn wire_byte(self) -> u8 {
        match self {
            Self::Btauth => 1,
            Self::Vending => 2,
        }
    }
}

/// What evidence says.
pub(super) struct Statement<'a> {
    /// Who says to have signed it.
    pub(super) sender: AccountId,
    /// For which server; strings of the vending server name none.
    pub(super) receiver: Option<AccountId>,
    /// When, by the signer's clock.
    pub(super) signed_at: UnixTime,
    /// Whether it was signed to be given a session.
    pub(super) is_for_sessions: bool,
    /// What the hotkey signed.
    pub(super) signed_text: &'a str,
}

impl<'a> Statement<'a> {
    /// Reads evidence; `None` where it is of neither kind.
    pub(super) fn parse(evidence: &'a str) -> Option<Self> {
        match EvidenceKind::of(evidence) {
            EvidenceKind::Btauth => {
                let request = SignedRequest::parse(evidence)?;
                Some(Self {
                    sender: request.sender,
                    receiver: request.receiver,
                    signed_at: UnixTime::from_nanos(request.nonce_nanos),
                    is_for_sessions: (request.method, request.target) == SESSION_ENDPOINT,
                    signed_text: evidence,
                })
            }
            EvidenceKind::Vending => {
                let SignedString { hotkey, signed_at, string } = SignedString::parse(evidence)?;
                Some(Self {
                    sender: hotkey,
                    receiver: None,
                    signed_at,
                    is_for_sessions: true,
                    signed_text: string,
                })
            }
        }
    }
}
