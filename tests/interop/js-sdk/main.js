// A small command-line client on the AWS SDK for JavaScript 3 that puts the bucket in the host name, which is
// that SDK's default.
//
//   js-sdk put KEY FILE | stream KEY FILE | multipart KEY FILE PART_BYTES | get KEY FILE | head KEY |
//          list PREFIX | range KEY FIRST LAST FILE | copy SOURCE KEY | delete KEY... | presign-get KEY | presign-put KEY
//
// The bucket is in the environment; endpoint, region and credentials are there too, or in the module that
// S3_SETUP names. A refusal is printed as `CODE: message`,
// exit 1.

import { createReadStream, createWriteStream, readFileSync, statSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { lookup as systemLookup } from "node:dns";
import { pipeline } from "node:stream/promises";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const environment = process.env;
const Bucket = environment.S3_BUCKET;

// Every name of the suite is this machine's; the resolver of the machine need not know them.
function lookup(name, options, callback) {
  if (!name.endsWith(".localhost")) return systemLookup(name, options, callback);
  if (options.all) return callback(null, [{ address: "127.0.0.1", family: 4 }]);
  return callback(null, "127.0.0.1", 4);
}

// What `subgate setup js` prints, where the environment names a file with it.
const setup = environment.S3_SETUP ? await import(environment.S3_SETUP) : undefined;
const client = setup?.s3 ?? new S3Client({
  region: environment.AWS_REGION,
  endpoint: environment.S3_ENDPOINT,
  forcePathStyle: environment.S3_PATH_STYLE === "true",
  maxAttempts: 1,
  // Without keys in the environment, from wherever the SDK finds them.
  credentials: environment.AWS_ACCESS_KEY_ID && {
    accessKeyId: environment.AWS_ACCESS_KEY_ID,
    secretAccessKey: environment.AWS_SECRET_ACCESS_KEY,
    sessionToken: environment.AWS_SESSION_TOKEN,
  },
  requestHandler: new NodeHttpHandler({
    httpAgent: new http.Agent({ keepAlive: true, lookup }),
    httpsAgent: new https.Agent({ keepAlive: true, lookup }),
  }),
});

const verbs = {
  async put(Key, file) {
    await client.send(new PutObjectCommand({ Bucket, Key, Body: readFileSync(file) }));
  },
  async stream(Key, file) {
    const ContentLength = statSync(file).size;
    await client.send(new PutObjectCommand({ Bucket, Key, Body: createReadStream(file), ContentLength }));
  },
  async multipart(Key, file, partBytes) {
    const params = { Bucket, Key, Body: createReadStream(file) };
    await new Upload({ client, params, partSize: Number(partBytes) }).done();
  },
  async get(Key, file) {
    const answer = await client.send(new GetObjectCommand({ Bucket, Key }));
    await pipeline(answer.Body, createWriteStream(file));
  },
  async range(Key, first, last, file) {
    const answer = await client.send(new GetObjectCommand({ Bucket, Key, Range: `bytes=${first}-${last}` }));
    await pipeline(answer.Body, createWriteStream(file));
  },
  async head(Key) {
    const answer = await client.send(new HeadObjectCommand({ Bucket, Key }));
    console.log(answer.ContentLength);
  },
  async list(Prefix) {
    for await (const page of paginateListObjectsV2({ client, pageSize: 100 }, { Bucket, Prefix })) {
      for (const object of page.Contents ?? []) console.log(object.Key);
    }
  },
  async copy(source, Key) {
    const CopySource = encodeURIComponent(`${Bucket}/${source}`);
    await client.send(new CopyObjectCommand({ Bucket, CopySource, Key }));
  },
  async delete(...keys) {
    if (keys.length === 1) {
      await client.send(new DeleteObjectCommand({ Bucket, Key: keys[0] }));
      return;
    }
    const Delete = { Objects: keys.map((Key) => ({ Key })) };
    const answer = await client.send(new DeleteObjectsCommand({ Bucket, Delete }));
    const [failure] = answer.Errors ?? [];
    if (failure) throw Object.assign(new Error(failure.Key), { name: failure.Code });
  },
  async "presign-get"(Key) {
    console.log(await getSignedUrl(client, new GetObjectCommand({ Bucket, Key }), { expiresIn: 600 }));
  },
  async "presign-put"(Key) {
    console.log(await getSignedUrl(client, new PutObjectCommand({ Bucket, Key }), { expiresIn: 600 }));
  },
};

const [verb, ...words] = process.argv.slice(2);
try {
  if (!verbs[verb]) throw new Error(`there is no verb ${verb}`);
  await verbs[verb](...words);
} catch (error) {
  console.error(`${error.Code ?? error.name}: ${error.message}`);
  process.exitCode = 1;
} finally {
  client.destroy();
}
