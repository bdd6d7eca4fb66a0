eval "$(subgate credentials @options@ --format env)"
folder=$(subgate credentials @options@ --no-cache |
  jq -r @folder_path_jq@)
head -c @size@ /dev/urandom > first.bin

# curl reads the secret from its standard input, so that no list of processes shows it.
signed() {
  printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" |
    curl --config - --silent --show-error --fail-with-body --aws-sigv4 "aws:amz:@region@:s3" \
      --header "x-amz-security-token: $AWS_SESSION_TOKEN" \
      --header "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$@"
}
signed --upload-file first.bin @bucket_url@/"${folder}first.bin"
signed --output back.bin @bucket_url@/"${folder}first.bin"
signed --request DELETE @bucket_url@/"${folder}first.bin"
