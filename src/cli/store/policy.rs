//! `subgate store policy`: the least rights at the store with which Subgate can work, derived from the table
//! of the operations that it forwards.
//!
//! Sources: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>,
//! <https://garagehq.deuxfleurs.fr/documentation/reference-manual/cli/>,
//! <https://developers.cloudflare.com/r2/api/tokens/>.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{
    cli::{
        configuration::{ConfigOption, load},
        exit::CommandError,
        terminal,
    },
    config::Config,
    s3::Operation,
};

/// Uploads that nobody has ended are removed after so many days: the sessions that began them are long over.
const ABANDONED_DAYS: u32 = 7;

/// Options of `subgate store policy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate store policy --config proxy.toml --for aws > policy.json
  subgate store policy --config proxy.toml --for aws --lifecycle > lifecycle.json
  subgate store policy --config proxy.toml --for garage | sh

The document goes to standard output, and what to do with it to standard error. For aws and minio it is a
policy in JSON; for r2 it is that of an API token, and for garage a command, for both know whole buckets
alone.
--lifecycle prints what removes multipart uploads that nobody has ended.")]
pub(crate) struct PolicyOptions {
    #[command(flatten)]
    config: ConfigOption,

    /// The kind of store
    #[arg(long = "for", value_name = "STORE")]
    kind: StoreKind,

    /// Print what removes abandoned multipart uploads, in place of the rights
    #[arg(long)]
    lifecycle: bool,
}

/// The kinds of stores whose language is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    /// AWS S3
    Aws,
    /// MinIO
    Minio,
    /// Garage
    Garage,
    /// Cloudflare R2
    R2,
}

/// Runs `subgate store policy`.
pub(crate) fn run(options: &PolicyOptions) -> Result<(), CommandError> {
    let config = load(&options.config.source()?)?;
    let bucket = &config.store.bucket;
    let (text, remarks) = match options.lifecycle {
        false => rights(options.kind, bucket, &config)?,
        true => lifecycle(options.kind, bucket, config.policy.roots())?,
    };
    terminal::print_line(text);
    for remark in remarks {
        terminal::print_remark(remark);
    }
    Ok(())
}

fn rights(kind: StoreKind, bucket: &str, config: &Config) -> Result<(String, Vec<String>), CommandError> {
    let roots = config.policy.roots();
    Ok(match kind {
        StoreKind::Aws => (
            pretty(&policy(bucket, roots, "StringLikeIfExists"))?,
            vec![
                "aws iam put-user-policy --user-name USER --policy-name subgate --policy-document \
                 file://policy.json"
                    .to_owned(),
                "AWS asks for the right to list before it says that an object is not there, and then names \
                 no prefix; so a list without a prefix is allowed too. It shows names alone: give Subgate a \
                 bucket of its own"
                    .to_owned(),
            ],
        ),
        StoreKind::Minio => (
            pretty(&policy(bucket, roots, "StringLike"))?,
            vec![
                "mc admin policy create ALIAS subgate policy.json && mc admin policy attach ALIAS subgate \
                  --user KEY"
                    .to_owned(),
            ],
        ),
        StoreKind::Garage => (
            format!("garage bucket allow --read --write {} --key \"${{KEY:?}}\"", shell_word(bucket)),
            vec![
                "set KEY to the id of Subgate's key. Garage knows rights on whole buckets alone: give \
                  Subgate a bucket of its own, and no other key to it"
                    .to_owned(),
            ],
        ),
        StoreKind::R2 => (
            pretty(&json!([{
                "effect": "allow",
                "resources": { format!("com.cloudflare.edge.r2.bucket.ACCOUNT_default_{bucket}"): "*" },
                "permission_groups": [
                    { "name": "Workers R2 Storage Bucket Item Read" },
                    { "name": "Workers R2 Storage Bucket Item Write" },
                ],
            }]))?,
            vec![
                "these are the policies of an API token (\"Object Read & Write\" on this one bucket in the \
                  dashboard); ACCOUNT is the account's id. R2 knows rights on whole buckets alone: give \
                  Subgate a bucket of its own"
                    .to_owned(),
            ],
        ),
    })
}

fn lifecycle(kind: StoreKind, bucket: &str, roots: &[String]) -> Result<(String, Vec<String>), CommandError> {
    let replaces = "it replaces the rules that the bucket has: write those that are to stay into the \
                    document first"
        .to_owned();
    let put = format!(
        "aws s3api put-bucket-lifecycle-configuration --bucket {} --lifecycle-configuration \
         file://lifecycle.json",
        shell_word(bucket)
    );
    Ok(match kind {
        StoreKind::Aws => (pretty(&rules(roots))?, vec![put, replaces]),
        StoreKind::Garage | StoreKind::R2 => (
            pretty(&rules(roots))?,
            vec![format!("{put} --endpoint-url URL, with a key that owns the bucket"), replaces],
        ),
        StoreKind::Minio => (
            format!("mc admin config set ALIAS api stale_uploads_expiry={}h", ABANDONED_DAYS * 24),
            vec![
                "MinIO removes abandoned uploads of all buckets by itself, after 24 hours unless this is set"
                    .to_owned(),
            ],
        ),
    })
}

/// The policy of a bucket's user in AWS's language. `condition` is the operator by which the prefix of a list
/// is compared.
fn policy(bucket: &str, roots: &[String], condition: &str) -> Value {
    let arn = format!("arn:aws:s3:::{bucket}");
    let objects: Vec<String> = roots.iter().map(|root| format!("{arn}/{root}*")).collect();
    let prefixes: Vec<String> = roots.iter().map(|root| format!("{root}*")).collect();
    let mut lists = json!({
        "Sid": "Lists",
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [arn],
    });
    // An empty root is the whole bucket.
    if !roots.iter().any(String::is_empty)
        && let Some(lists) = lists.as_object_mut()
    {
        lists.insert("Condition".to_owned(), json!({ condition: { "s3:prefix": prefixes } }));
    }
    let mut bucket_actions: BTreeSet<&str> = actions(Level::Bucket);
    bucket_actions.remove("s3:ListBucket");
    json!({
        "Version": "2012-10-17",
        "Statement": [
            lists,
            { "Sid": "Uploads", "Effect": "Allow", "Action": bucket_actions, "Resource": [arn] },
            { "Sid": "Objects", "Effect": "Allow", "Action": actions(Level::Object), "Resource": objects },
        ],
    })
}

fn rules(roots: &[String]) -> Value {
    let rule = |(index, root): (usize, &String)| {
        json!({
            "ID": format!("subgate-abandoned-uploads-{}", index + 1),
            "Status": "Enabled",
            "Filter": { "Prefix": root },
            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": ABANDONED_DAYS },
        })
    };
    json!({ "Rules": roots.iter().enumerate().map(rule).collect::<Vec<_>>() })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Bucket,
    Object,
}

/// The actions of all operations that the store is asked for.
fn actions(level: Level) -> BTreeSet<&'static str> {
    let forwarded = Operation::ALL.into_iter().filter(|operation| !operation.is_answered_here());
    let needed = forwarded.flat_map(|operation| {
        let of_versions = if operation.may_name_a_version() { actions_of_versions(operation) } else { &[] };
        actions_of(operation).iter().chain(of_versions)
    });
    needed.filter(|(of, _)| *of == level).map(|(_, action)| *action).collect()
}

/// The actions that AWS wants for an operation.
fn actions_of(operation: Operation) -> &'static [(Level, &'static str)] {
    const GET: (Level, &str) = (Level::Object, "s3:GetObject");
    const PUT: (Level, &str) = (Level::Object, "s3:PutObject");
    match operation {
        Operation::ListBuckets
        | Operation::HeadBucket
        | Operation::CreateBucket
        | Operation::GetBucketLocation => &[],
        Operation::ListObjects | Operation::ListObjectsV2 => &[(Level::Bucket, "s3:ListBucket")],
        Operation::ListMultipartUploads => &[(Level::Bucket, "s3:ListBucketMultipartUploads")],
        Operation::DeleteObjects | Operation::DeleteObject => &[(Level::Object, "s3:DeleteObject")],
        Operation::GetObject | Operation::HeadObject => &[GET],
        Operation::GetObjectAttributes => &[GET, (Level::Object, "s3:GetObjectAttributes")],
        Operation::ListParts => &[(Level::Object, "s3:ListMultipartUploadParts")],
        Operation::CopyObject | Operation::UploadPartCopy => &[GET, PUT],
        Operation::PutObject
        | Operation::UploadPart
        | Operation::CreateMultipartUpload
        | Operation::CompleteMultipartUpload => &[PUT],
        Operation::AbortMultipartUpload => &[(Level::Object, "s3:AbortMultipartUpload")],
    }
}

/// The actions that it wants besides, where a version is named.
fn actions_of_versions(operation: Operation) -> &'static [(Level, &'static str)] {
    match operation {
        Operation::GetObject | Operation::HeadObject => &[(Level::Object, "s3:GetObjectVersion")],
        Operation::GetObjectAttributes => &[(Level::Object, "s3:GetObjectVersionAttributes")],
        Operation::DeleteObject => &[(Level::Object, "s3:DeleteObjectVersion")],
        Operation::ListBuckets
        | Operation::HeadBucket
        | Operation::CreateBucket
        | Operation::GetBucketLocation
        | Operation::ListObjects
        | Operation::ListObjectsV2
        | Operation::ListMultipartUploads
        | Operation::DeleteObjects
        | Operation::ListParts
        | Operation::PutObject
        | Operation::CopyObject
        | Operation::UploadPart
        | Operation::UploadPartCopy
        | Operation::CreateMultipartUpload
        | Operation::CompleteMultipartUpload
        | Operation::AbortMultipartUpload => &[],
    }
}

fn pretty(value: &Value) -> Result<String, CommandError> {
    serde_json::to_string_pretty(value).map_err(CommandError::software)
}

/// A bucket's name has no quotes in it; this is for the eye.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_are_those_of_the_operations_that_are_forwarded_below_the_roots() {
        let policy = policy("b", &["data/".to_owned(), "jobs/".to_owned()], "StringLike");
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements[0]["Action"], json!(["s3:ListBucket"]));
        assert_eq!(
            statements[0]["Condition"],
            json!({ "StringLike": { "s3:prefix": ["data/*", "jobs/*"] } })
        );
        assert_eq!(statements[1]["Action"], json!(["s3:ListBucketMultipartUploads"]));
        assert_eq!(statements[2]["Resource"], json!(["arn:aws:s3:::b/data/*", "arn:aws:s3:::b/jobs/*"]));
        assert_eq!(
            statements[2]["Action"],
            json!([
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:GetObject",
                "s3:GetObjectAttributes",
                "s3:GetObjectVersion",
                "s3:GetObjectVersionAttributes",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ])
        );
        // Nothing of it speaks of rights, policies or other buckets.
        let text = policy.to_string();
        assert!(!text.contains("\"*\"") && !text.contains("s3:*") && !text.contains("Acl"), "{text}");
    }

    #[test]
    fn every_operation_that_is_forwarded_needs_a_right_and_no_other_does() {
        for operation in Operation::ALL {
            assert_eq!(actions_of(operation).is_empty(), operation.is_answered_here(), "{operation:?}");
            let of_versions = !actions_of_versions(operation).is_empty();
            assert_eq!(of_versions, operation.may_name_a_version(), "{operation:?}");
        }
    }

    #[test]
    fn a_layout_without_a_literal_beginning_takes_the_whole_bucket() {
        let policy = policy("b", &[String::new()], "StringLike");
        assert_eq!(policy["Statement"][0].get("Condition"), None);
        assert_eq!(policy["Statement"][2]["Resource"], json!(["arn:aws:s3:::b/*"]));
    }

    #[test]
    fn whoever_puts_rules_is_told_that_they_replace_the_ones_before() {
        for kind in [StoreKind::Aws, StoreKind::Garage, StoreKind::R2] {
            let (_, remarks) = lifecycle(kind, "b", &["data/".to_owned()]).unwrap();
            assert!(
                remarks.iter().any(|remark| remark.contains("replaces the rules")),
                "{kind:?} {remarks:?}"
            );
        }
    }

    #[test]
    fn abandoned_uploads_have_a_rule_below_each_root() {
        let rules = rules(&["data/".to_owned(), "jobs/".to_owned()]);
        assert_eq!(rules["Rules"][1]["Filter"]["Prefix"], "jobs/");
        assert_eq!(rules["Rules"][0]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 7);
    }
}
