//! One order, from the account to the certificate (RFC 8555, sections 7.3 and 7.4). \[IO\]

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};

use super::{AcmeError, challenges::Challenges, directory::Directory, http::AcmeHttp};
use crate::{config, secret::SecretText};

/// How often and how long an order is asked after, where the authority does not say.
const POLLS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// How much of what an authority says is repeated in the log.
const SAID_CHARS_MAX: usize = 500;

/// Orders a certificate of the configured domains; a new key and the chain that was issued for it, PEM.
pub(super) async fn certificate(
    settings: &config::Acme,
    directory: &Directory,
    http: &AcmeHttp,
    challenges: &Challenges,
) -> Result<SecretText, AcmeError> {
    let account = account(settings, directory, http).await?;
    let domains: Vec<Identifier> = settings.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = match account.new_order(&NewOrder::new(&domains)).await {
        Ok(order) => order,
        Err(error) => {
            if is_unknown_account(&error) {
                directory.forget_account()?;
            }
            return Err(failed("the order is refused", &error));
        }
    };
    prove(&mut order, challenges).await?;
    let ready = order.poll_ready(&POLLS).await;
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        return Err(why_not_ready(&mut order, ready.err()).await);
    }
    let key = order.finalize().await.map_err(|error| failed("the order cannot be finished", &error))?;
    let key = SecretText::new(key);
    let chain = order.poll_certificate(&POLLS).await;
    let chain = chain.map_err(|error| failed("the certificate is not issued", &error))?;
    Ok(SecretText::new(format!("{}{chain}", key.expose())))
}

/// The account that is kept on disk, or a new one.
async fn account(
    settings: &config::Acme,
    directory: &Directory,
    http: &AcmeHttp,
) -> Result<Account, AcmeError> {
    let builder = Account::builder_with_http(Box::new(http.clone()));
    if let Some(credentials) = directory.account()? {
        let restored = builder.from_credentials(credentials).await;
        return restored.map_err(|error| failed("the authority cannot be asked", &error));
    }
    let contact: Vec<&str> = settings.contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let made = builder.create(&new, settings.directory.clone(), None).await;
    let (account, credentials) = made.map_err(|error| failed("no account can be made", &error))?;
    directory.keep_account(&credentials)?;
    Ok(account)
}

/// Begins the challenge of each domain that the account has not proved lately.
async fn prove(order: &mut Order, challenges: &Challenges) -> Result<(), AcmeError> {
    let asked = "the authority cannot be asked for its challenges";
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| failed(asked, &error))?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated => {
                return Err(AcmeError::Order("the authority gives up the order".to_owned()));
            }
        }
        let domain = authorization.identifier().to_string();
        let mut challenge = authorization.challenge(ChallengeType::TlsAlpn01).ok_or_else(|| {
            AcmeError::Order(format!("the authority cannot validate {domain} by TLS-ALPN-01"))
        })?;
        let digest = challenge.key_authorization().digest();
        challenges.add(&domain, digest.as_ref()).map_err(AcmeError::Order)?;
        challenge.set_ready().await.map_err(|error| failed("the challenge cannot be begun", &error))?;
    }
    Ok(())
}

/// What the authority says of the domains that it could not validate.
async fn why_not_ready(order: &mut Order, error: Option<Error>) -> AcmeError {
    let mut whys = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let faults = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        whys.extend(faults.map(|fault| (authorization.identifier().to_string(), fault.to_string())));
    }
    let whys = whys.iter().map(|(domain, why)| format!("{domain}: {}", shown(why)));
    let whys = whys.collect::<Vec<_>>().join("; ");
    match (whys.is_empty(), error) {
        (false, _) => AcmeError::Order(format!(
            "the authority could not validate the domains; each must lead to this listener on port 443: \
             {whys}"
        )),
        (true, Some(error)) => failed("the order does not become ready", &error),
        (true, None) => AcmeError::Order("the authority gives up the order".to_owned()),
    }
}

fn is_unknown_account(error: &Error) -> bool {
    matches!(error, Error::Api(problem)
        if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist"))
}

fn failed(what: &str, error: &Error) -> AcmeError {
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
        text = format!("{text}: {cause}");
    }
    AcmeError::Order(format!("{what}: {}", shown(&text)))
}

/// On one line, and not too long.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_authority_says_is_shown_on_one_line_of_bounded_length() {
        let said = format!("no\nway{}", "x".repeat(10_000));
        let shown = shown(&said);
        assert!(shown.starts_with("no way") && shown.chars().count() == SAID_CHARS_MAX);
    }

    #[test]
    fn an_account_that_is_gone_is_known_by_its_type() {
        let problem = |kind: &str| {
            let text = format!(r#"{{"type": "urn:ietf:params:acme:error:{kind}", "detail": "d"}}"#);
            Error::Api(serde_json::from_str(&text).unwrap())
        };
        assert!(is_unknown_account(&problem("accountDoesNotExist")));
        assert!(!is_unknown_account(&problem("rateLimited")) && !is_unknown_account(&Error::Crypto));
        assert_eq!(
            failed("refused", &problem("rateLimited")).to_string(),
            "refused: API error: d (urn:ietf:params:acme:error:rateLimited)"
        );
    }
}
