"""No web framework: hold, work, settle, explain: python examples/plain_script.py"""

from __future__ import annotations

from datetime import timedelta

from host import open_billing

from billing_core import Refused, decimal_text, tokens

billing = open_billing()
try:
    most = tokens("large", input=2_000, output=8_000)  # the most that the call can come to
    with billing.hold("acme", most, expires_in=timedelta(minutes=10), member="ana") as hold:
        print(f"held {decimal_text(hold.amount)}")
        hold.report(tokens("large", input=2_000, output=611))  # what it really was
except Refused as error:
    print(f"not now: {error.refusal}")
else:
    [charge] = hold.charges
    print(billing.explain("acme", charge.seq))
print(f"balance {billing.balance('acme')}, verified: {billing.verify().ok}")
