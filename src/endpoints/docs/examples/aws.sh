export AWS_PROFILE=subnet
folder=$(subgate credentials @options@ --no-cache |
  jq -r @folder_jq@)
head -c @size@ /dev/urandom > first.bin

aws s3 cp first.bin "s3://@bucket@/${folder}first.bin"
aws s3 ls "s3://@bucket@/$folder"
aws s3 cp "s3://@bucket@/${folder}first.bin" back.bin
aws s3 rm "s3://@bucket@/${folder}first.bin"
