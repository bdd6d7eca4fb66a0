// A small command-line client on aws-sdk-go-v2 that puts the bucket in the host name, which is that SDK's
// default.
//
//	go-sdk put KEY FILE | stream KEY FILE | multipart KEY FILE PART_BYTES | get KEY FILE | head KEY |
//	       list PREFIX | range KEY FIRST LAST FILE | copy SOURCE KEY | delete KEY... |
//	       presign-get KEY | presign-put KEY
//
// Endpoint, bucket, region and credentials are in the environment, or come from what is compiled in with the
// tag `setup`. A refusal is printed as `CODE: message`, exit 1.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		var refusal smithy.APIError
		if errors.As(err, &refusal) {
			fmt.Fprintf(os.Stderr, "%s: %s\n", refusal.ErrorCode(), refusal.ErrorMessage())
		} else {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, words []string) error {
	client, err := newS3Client(ctx)
	if err != nil {
		return err
	}
	bucket := aws.String(os.Getenv("S3_BUCKET"))
	if len(words) < 2 {
		return errors.New("a verb and a key are needed")
	}
	verb, key, rest := words[0], aws.String(words[1]), words[2:]
	switch verb {
	case "put", "stream", "multipart":
		file, err := os.Open(rest[0])
		if err != nil {
			return err
		}
		defer file.Close()
		return upload(ctx, client, verb, &s3.PutObjectInput{Bucket: bucket, Key: key}, file, rest[1:])
	case "get":
		return download(ctx, client, &s3.GetObjectInput{Bucket: bucket, Key: key}, rest[0])
	case "range":
		interval := "bytes=" + rest[0] + "-" + rest[1]
		input := &s3.GetObjectInput{Bucket: bucket, Key: key, Range: &interval}
		return download(ctx, client, input, rest[2])
	case "head":
		answer, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
		if err == nil {
			fmt.Println(aws.ToInt64(answer.ContentLength))
		}
		return err
	case "list":
		return list(ctx, client, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: key, MaxKeys: aws.Int32(100)})
	case "copy":
		source := url.PathEscape(*bucket + "/" + *key)
		_, err := client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, CopySource: &source, Key: &rest[0]})
		return err
	case "delete":
		return remove(ctx, client, bucket, words[1:])
	case "presign-get":
		presigner := s3.NewPresignClient(client, s3.WithPresignExpires(10*time.Minute))
		request, err := presigner.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
		if err == nil {
			fmt.Println(request.URL)
		}
		return err
	case "presign-put":
		presigner := s3.NewPresignClient(client, s3.WithPresignExpires(10*time.Minute))
		request, err := presigner.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key})
		if err == nil {
			fmt.Println(request.URL)
		}
		return err
	}
	return fmt.Errorf("there is no verb %q", verb)
}

// What `subgate setup go` prints, where that is compiled in; the tag `setup` is for that.
var fromSetup func(context.Context) (*s3.Client, error)

func newS3Client(ctx context.Context) (*s3.Client, error) {
	if fromSetup != nil {
		return fromSetup(ctx)
	}
	return newClient(), nil
}

func newClient() *s3.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// Every name of the suite is this machine's; the resolver of the machine need not know them.
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err == nil && strings.HasSuffix(host, ".localhost") {
			address = net.JoinHostPort("127.0.0.1", port)
		}
		return dialer.DialContext(ctx, network, address)
	}
	return s3.New(s3.Options{
		Region:       os.Getenv("AWS_REGION"),
		BaseEndpoint: aws.String(os.Getenv("S3_ENDPOINT")),
		UsePathStyle: os.Getenv("S3_PATH_STYLE") == "true",
		HTTPClient:   &http.Client{Transport: transport},
		Retryer:      aws.NopRetryer{},
		Credentials:  newCredentials(),
	})
}

// newCredentials are the keys of the environment, or else what a container's credential endpoint hands out.
func newCredentials() aws.CredentialsProvider {
	if uri := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"); uri != "" {
		token := endpointcreds.TokenProviderFunc(func() (string, error) {
			text, err := os.ReadFile(os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
			return string(text), err
		})
		return aws.NewCredentialsCache(endpointcreds.New(uri, func(options *endpointcreds.Options) {
			options.AuthorizationTokenProvider = token
		}))
	}
	return credentials.NewStaticCredentialsProvider(
		os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN"),
	)
}

// onlyReader hides that a body can be read again, so that the SDK takes it for a stream.
type onlyReader struct{ io.Reader }

func upload(
	ctx context.Context, client *s3.Client, verb string, input *s3.PutObjectInput, file *os.File, rest []string,
) error {
	if verb == "multipart" {
		partBytes, err := strconv.ParseInt(rest[0], 10, 64)
		if err != nil {
			return err
		}
		transfers := transfermanager.New(client, func(options *transfermanager.Options) {
			options.PartSizeBytes = partBytes
		})
		_, err = transfers.UploadObject(ctx, &transfermanager.UploadObjectInput{
			Bucket: input.Bucket, Key: input.Key, Body: file,
		})
		return err
	}
	input.Body = file
	if verb == "stream" {
		status, err := file.Stat()
		if err != nil {
			return err
		}
		input.Body = onlyReader{file}
		input.ContentLength = aws.Int64(status.Size())
	}
	_, err := client.PutObject(ctx, input)
	return err
}

func download(ctx context.Context, client *s3.Client, input *s3.GetObjectInput, name string) error {
	answer, err := client.GetObject(ctx, input)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, answer.Body)
	return err
}

func list(ctx context.Context, client *s3.Client, input *s3.ListObjectsV2Input) error {
	pages := s3.NewListObjectsV2Paginator(client, input)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, object := range page.Contents {
			fmt.Println(aws.ToString(object.Key))
		}
	}
	return nil
}

func remove(ctx context.Context, client *s3.Client, bucket *string, keys []string) error {
	if len(keys) == 1 {
		_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &keys[0]})
		return err
	}
	objects := make([]types.ObjectIdentifier, 0, len(keys))
	for _, key := range keys {
		objects = append(objects, types.ObjectIdentifier{Key: aws.String(key)})
	}
	batch := &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: objects}}
	answer, err := client.DeleteObjects(ctx, batch)
	if err != nil {
		return err
	}
	for _, failure := range answer.Errors {
		return fmt.Errorf("%s: %s", aws.ToString(failure.Code), aws.ToString(failure.Key))
	}
	return nil
}
