"""Fetches URLs with requests through the proxy that the environment names: the status and the
length of each body, or what went wrong."""

import sys

import requests

session = requests.Session()
requests.packages.urllib3.disable_warnings()
for url in sys.argv[1:]:
    try:
        answer = session.get(url, timeout=20, verify=False)
        print(answer.status_code, len(answer.content))
    except requests.exceptions.RequestException as error:
        print(error)
