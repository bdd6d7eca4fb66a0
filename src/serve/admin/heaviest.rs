//! Who asks most: `GET /principals?by=requests|bytes_in|bytes_out|errors|under_way&top=20&minutes=5`.
//!
//! Hotkeys are no labels of metrics (P50); here the operator sees who is behind a peak, whoever it is.

use std::{cmp::Reverse, collections::HashMap};

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    chain::AccountId,
    front::Front,
    observe::{MINUTES_MAX, Principal},
};

/// The most that are told at one time.
const TOP_MAX: usize = 1000;

/// What they are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Requests,
    BytesIn,
    BytesOut,
    Errors,
    UnderWay,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question {
    by: By,
    top: usize,
    minutes: usize,
}

impl Question {
    fn parse(query: &str) -> Result<Self, String> {
        let mut question = Self { by: By::Requests, top: 20, minutes: 5 };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = |max: usize| {
                let number = value.parse().ok().filter(|number| (1..=max).contains(number));
                number.ok_or_else(|| format!("{name} is a number from 1 to {max}"))
            };
            match name {
                "by" => {
                    question.by = match value {
                        "requests" => By::Requests,
                        "bytes_in" => By::BytesIn,
                        "bytes_out" => By::BytesOut,
                        "errors" => By::Errors,
                        "under_way" => By::UnderWay,
                        _ => return Err("by is requests, bytes_in, bytes_out, errors or under_way".into()),
                    }
                }
                "top" => question.top = number(TOP_MAX)?,
                "minutes" => question.minutes = number(MINUTES_MAX)?,
                _ => return Err("the parameters are by, top and minutes".into()),
            }
        }
        Ok(question)
    }
}

/// One of them with what is under way of it.
struct Row {
    principal: Option<Principal>,
    account: AccountId,
    under_way: u64,
}

impl Row {
    fn weight(&self, by: By) -> u64 {
        let traffic = self.principal.as_ref().map(|principal| principal.traffic).unwrap_or_default();
        match by {
            By::Requests => traffic.requests,
            By::BytesIn => traffic.bytes_in,
            By::BytesOut => traffic.bytes_out,
            By::Errors => traffic.errors,
            By::UnderWay => self.under_way,
        }
    }

    fn json(&self) -> Value {
        let under_way = self.under_way;
        let Some(Principal { owner, role, traffic, .. }) = &self.principal else {
            return json!({ "account": self.account.to_ss58(), "requests_under_way": under_way });
        };
        json!({
            "hotkey": owner.hotkey(),
            "coldkey": owner.coldkey(),
            "role": role.as_str(),
            "requests": traffic.requests,
            "errors": traffic.errors,
            "bytes_in": traffic.bytes_in,
            "bytes_out": traffic.bytes_out,
            "requests_under_way": under_way,
        })
    }
}

/// The answer to that query.
pub(super) fn answer(front: &Front, query: &str) -> (StatusCode, Value) {
    let question = match Question::parse(query) {
        Ok(question) => question,
        Err(fault) => return (StatusCode::BAD_REQUEST, json!({ "detail": fault })),
    };
    let known = front.metrics().principals.last(question.minutes);
    let rows = heaviest(&question, known, front.limits().requests_under_way());
    let body = json!({
        "minutes": question.minutes,
        "principals": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    (StatusCode::OK, body)
}

/// The heaviest of those whose requests have ended and of those whose requests are under way. What is under
/// way counts by principal, which is a hotkey or, by `limits.principal`, a coldkey: then it stands by itself.
fn heaviest(question: &Question, known: Vec<Principal>, under_way: Vec<(AccountId, u64)>) -> Vec<Row> {
    let mut under_way: HashMap<AccountId, u64> = under_way.into_iter().collect();
    let mut rows: Vec<Row> = known
        .into_iter()
        .map(|principal| Row {
            account: principal.hotkey,
            under_way: under_way.remove(&principal.hotkey).unwrap_or_default(),
            principal: Some(principal),
        })
        .collect();
    rows.extend(under_way.into_iter().map(|(account, under_way)| Row {
        account,
        under_way,
        principal: None,
    }));
    rows.retain(|row| row.weight(question.by) > 0);
    rows.sort_by_key(|row| (Reverse(row.weight(question.by)), row.account));
    rows.truncate(question.top);
    rows
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        chain::{Owner, Role},
        observe::Traffic,
    };

    fn account(byte: u8) -> AccountId {
        AccountId::from_bytes([byte; 32]).unwrap()
    }

    fn principal(byte: u8, requests: u64, bytes_in: u64) -> Principal {
        let hotkey = account(byte);
        Principal {
            hotkey,
            owner: Arc::new(Owner::new(hotkey, account(9))),
            role: Role::Miner,
            traffic: Traffic { requests, bytes_in, ..Traffic::default() },
        }
    }

    #[test]
    fn the_heaviest_come_first_by_what_was_asked() {
        let known = || vec![principal(1, 5, 10), principal(2, 3, 20), principal(3, 4, 0)];
        let under_way = || vec![(account(2), 7), (account(9), 8)];
        let found = |query: &str| {
            let question = Question::parse(query).unwrap();
            let rows = heaviest(&question, known(), under_way());
            rows.iter().map(|row| (row.account, row.under_way)).collect::<Vec<_>>()
        };
        assert_eq!(found(""), [(account(1), 0), (account(3), 0), (account(2), 7)]);
        assert_eq!(found("by=bytes_in&top=1"), [(account(2), 7)]);
        assert_eq!(found("by=under_way"), [(account(9), 8), (account(2), 7)]);
        assert_eq!(found("by=errors"), []);
    }

    #[test]
    fn what_is_not_understood_is_told() {
        assert_eq!(
            Question::parse("by=bytes_out&top=3&minutes=15"),
            Ok(Question { by: By::BytesOut, top: 3, minutes: 15 })
        );
        for query in ["by=x", "top=0", "top=1001", "minutes=16", "minutes=x", "sort=requests"] {
            assert!(Question::parse(query).is_err(), "{query}");
        }
    }
}
