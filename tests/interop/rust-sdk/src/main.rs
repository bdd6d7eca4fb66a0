//! A small command-line client on aws-sdk-s3, whose default over plain http is signed chunks with a signed
//! trailer.
//!
//! `rust-sdk put KEY FILE | get KEY FILE | multipart KEY FILE PART_BYTES | list PREFIX | copy SOURCE KEY |
//! delete KEY`, with the endpoint, bucket, region and credentials in the environment. A refusal is printed as
//! `CODE: message`, exit 1.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let client = client()?;
    let bucket = env::var("S3_BUCKET")?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["put", key, file] => {
            let body = ByteStream::from_path(file).await?;
            client.put_object().bucket(bucket).key(*key).body(body).send().await.map_err(refusal)?;
        }
        ["get", key, file] => {
            let answer = client.get_object().bucket(bucket).key(*key).send().await.map_err(refusal)?;
            std::fs::write(file, answer.body.collect().await?.into_bytes())?;
        }
        ["multipart", key, file, part_bytes] => {
            multipart(&client, &bucket, key, &std::fs::read(file)?, part_bytes.parse()?).await?;
        }
        ["list", prefix] => {
            let mut pages =
                client.list_objects_v2().bucket(bucket).prefix(*prefix).max_keys(100).into_paginator().send();
            while let Some(page) = pages.next().await {
                for object in page.map_err(refusal)?.contents() {
                    println!("{}", object.key().unwrap_or_default());
                }
            }
        }
        ["copy", source, key] => {
            let source = format!("{bucket}/{source}");
            client.copy_object().bucket(bucket).copy_source(source).key(*key).send().await.map_err(refusal)?;
        }
        ["delete", key] => {
            client.delete_object().bucket(bucket).key(*key).send().await.map_err(refusal)?;
        }
        _ => return Err(
            "put KEY FILE | get KEY FILE | multipart KEY FILE PART_BYTES | list PREFIX | \
             copy SOURCE KEY | delete KEY"
                .into(),
        ),
    }
    Ok(())
}

fn client() -> Result<Client, Failure> {
    let credentials = Credentials::new(
        env::var("AWS_ACCESS_KEY_ID")?,
        env::var("AWS_SECRET_ACCESS_KEY")?,
        env::var("AWS_SESSION_TOKEN").ok(),
        None,
        "environment",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(env::var("AWS_REGION")?))
        .endpoint_url(env::var("S3_ENDPOINT")?)
        .force_path_style(true)
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Ok(Client::from_conf(config))
}

async fn multipart(
    client: &Client,
    bucket: &str,
    key: &str,
    data: &[u8],
    part_bytes: usize,
) -> Result<(), Failure> {
    let upload = client.create_multipart_upload().bucket(bucket).key(key).send().await.map_err(refusal)?;
    let upload_id = upload.upload_id().ok_or("no upload id")?;
    let mut parts = Vec::new();
    for (number, part) in (1..).zip(data.chunks(part_bytes)) {
        let answer = client
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(upload_id)
            .part_number(number)
            .body(ByteStream::from(part.to_vec()))
            .send()
            .await
            .map_err(refusal)?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .build();
        parts.push(part);
    }
    client
        .complete_multipart_upload()
        .bucket(bucket)
        .key(key)
        .upload_id(upload_id)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .send()
        .await
        .map_err(refusal)?;
    Ok(())
}

/// The S3 code and message of a refusal; a failure below HTTP shows its whole chain.
fn refusal<E: ProvideErrorMetadata + Error + 'static>(error: E) -> Failure {
    match error.code() {
        Some(code) => format!("{code}: {}", error.message().unwrap_or_default()).into(),
        None => format!("{error:?}").into(),
    }
}
