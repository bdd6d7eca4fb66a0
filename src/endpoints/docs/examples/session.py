import hashlib, time
import boto3, requests
from bittensor_wallet import Wallet
from botocore.config import Config

endpoint, receiver = @endpoint@, @receiver@
hotkey = Wallet(name="miner").hotkey

# 1. The hotkey signs one request for a session (btauth/1).
body, nonce = b"", str(time.time_ns())
signed = "\n".join([
    "btauth/1", "sr25519", "POST", "/v1/session", hashlib.sha256(body).hexdigest(),
    nonce, hotkey.ss58_address, receiver or "-",
])
headers = {
    "X-Bittensor-Version": "1",
    "X-Bittensor-Hotkey": hotkey.ss58_address,
    "X-Bittensor-Nonce": nonce,
    "X-Bittensor-Signature": "0x" + hotkey.sign(signed.encode()).hex(),
}
if receiver:
    headers["X-Bittensor-Receiver"] = receiver
answer = requests.post(f"{endpoint}/v1/session", data=body, headers=headers, timeout=30)
answer.raise_for_status()
session = answer.json()

# 2. Any S3 client signs with what it answered.
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    region_name=session["region"],
    aws_access_key_id=session["AccessKeyId"],
    aws_secret_access_key=session["SecretAccessKey"],
    aws_session_token=session["SessionToken"],
    config=Config(s3={"addressing_style": "path"}),
)
folder = session["folders"][0]@open_variables@
s3.put_object(Bucket=session["bucket"], Key=folder + "first.bin", Body=bytes(@size@))
for item in s3.list_objects_v2(Bucket=session["bucket"], Prefix=folder)["Contents"]:
    print(item["Key"], item["Size"])
