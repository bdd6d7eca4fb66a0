import boto3
from bittensor_wallet import Wallet
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.config import Config

HMAC, SR25519 = "AWS4-HMAC-SHA256", "AWS4-SR25519-SHA256"
hotkey = Wallet(name="miner").hotkey


class HotkeyAuth(S3SigV4Auth):
    def string_to_sign(self, request, canonical_request):
        return super().string_to_sign(request, canonical_request).replace(HMAC, SR25519, 1)

    def signature(self, string_to_sign, request):
        return hotkey.sign(string_to_sign.encode()).hex()

    def _inject_signature_to_request(self, request, signature):
        super()._inject_signature_to_request(request, signature)
        authorization = request.headers["Authorization"].replace(HMAC, SR25519, 1)
        del request.headers["Authorization"]  # assigning alone would add a second one
        request.headers["Authorization"] = authorization


AUTH_TYPE_MAPS["hotkey"] = HotkeyAuth
s3 = boto3.client(
    "s3",
    endpoint_url=@endpoint@,
    region_name=@region_literal@,
    aws_access_key_id=hotkey.ss58_address,
    aws_secret_access_key="unused",
    config=Config(signature_version="hotkey", s3={"addressing_style": "path"}),
)
print(s3.list_objects_v2(Bucket=@bucket_literal@, Delimiter="/")["CommonPrefixes"])
