import time
import requests
from bittensor_wallet import Wallet

wallet, now = Wallet(name="miner"), int(time.time())
hotkey, coldkey = wallet.hotkey, wallet.coldkeypub.ss58_address
access = requests.post(
    @endpoint@ + "/get-folder-access",
    json={
        "coldkey": coldkey,
        "hotkey": hotkey.ss58_address,
        "timestamp": now,
        "expiry": now + 86400,
        "signature": hotkey.sign(f"s3:data:access:{coldkey}:{hotkey.ss58_address}:{now}".encode()).hex(),
    },
    timeout=30,
)
access.raise_for_status()
form = access.json()
upload = requests.post(form["url"], data=form["fields"], files={"file": ("first.bin", bytes(@size@))}, timeout=30)
upload.raise_for_status()
print(upload.status_code, form["folder"])
