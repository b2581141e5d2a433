"""Real clients of the Open Inference Protocol get the objects of hl-run from hl-serve.

`check.py ADDRESS EXPECTED`: EXPECTED is a JSON list of the lines of `hl-run --output-format jsonl`.
"""
import asyncio
import json
import sys
from pathlib import Path

import numpy
import tritonclient.http as triton
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig


def without_scores(result):
    names = ["score", "tag_scores", "warnings"]
    spans = [{name: span[name] for name in span if name not in ["score", "margin"]} for span in result["spans"]]
    return {**{name: result[name] for name in result if name not in names}, "spans": spans}


def check_triton(address, expected):
    client = triton.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("mtop")
    assert not client.is_model_ready("none")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("mtop", "1")["inputs"][0]["datatype"] == "BYTES"
    texts = numpy.array([line["text"].encode() for line in expected], dtype=object)
    for binary_input in [True, False]:
        for outputs in [None, [triton.InferRequestedOutput("result", binary_data=True)],
                        [triton.InferRequestedOutput("result", binary_data=False)]]:
            tensor = triton.InferInput("text", [len(texts)], "BYTES")
            tensor.set_data_from_numpy(texts, binary_data=binary_input)
            answer = client.infer("mtop", [tensor], outputs=outputs, request_id="7")
            assert answer.get_response()["id"] == "7"
            found = [without_scores(json.loads(result)) for result in answer.as_numpy("result")]
            assert found == expected, "tritonclient: other objects than hl-run's"
    try:
        client.infer("none", [tensor])
        raise AssertionError("a model that does not exist answers")
    except triton.InferenceServerException as error:
        assert "no model is named `none`" in str(error), error
    print(f"tritonclient: the objects of {len(expected)} sentences, in JSON and in bytes")


async def check_kserve(address, expected):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1, timeout=60))
    base = f"http://{address}"
    assert await client.is_server_ready(base) and await client.is_server_live(base)
    assert await client.is_model_ready(base, "mtop")
    tensor = InferInput("text", [len(expected)], "BYTES", [line["text"] for line in expected])
    for binary in [False, True]:
        if binary:
            texts = numpy.array([line["text"].encode() for line in expected], dtype=object)
            tensor = InferInput("text", [len(expected)], "BYTES")
            tensor.set_data_from_numpy(texts, binary_data=True)
        request = InferRequest(model_name="mtop", infer_inputs=[tensor])
        answer = await client.infer(base, request, model_name="mtop")
        results = answer.outputs[0].as_numpy()
        assert [without_scores(json.loads(result)) for result in results] == expected, "kserve: other objects"
    print(f"kserve: the objects of {len(expected)} sentences, in JSON and in bytes")


def main():
    address, expected = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    check_triton(address, expected)
    asyncio.run(check_kserve(address, expected))


if __name__ == "__main__":
    main()
