"""The embedded runtime with a tiny random language model and a tiny random vision side."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from spex_model.model.modeling_spex import SpexVision
from spex_model.model.processor import decode_scene, encode_scene
from spex_model.model.weights import CHAT_TEMPLATE
from spex_model.serving.embedded import EmbeddedRuntime, _open_store
from spex_model.serving.errors import BadRequest, RuntimeUnavailable, UnknownImage, UnknownStates
from spex_model.serving.feature_store import FeatureStore
from spex_model.serving.language import Answer, LanguageModel
from spex_model.serving.protocol import Box, Point
from spex_model.serving.recent import Recent
from tests.serving.test_mask_service import TINY, make_scene

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>", "<image>"]
END, IMAGE = 2, 4
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["lake", "river"]}, "count": {"type": "array", "items": {"enum": ["1", "2"]}, "maxItems": 2}},
    "required": ["kind", "count"],
    "additionalProperties": False,
}  # fmt: skip


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, behind the special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(SPECIAL + letters)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<pad>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


@pytest.fixture(scope="module")
def language() -> LanguageModel:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=261, hidden_size=20, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=END)
    projector = torch.nn.Linear(TINY.vision_hidden_size, 20)
    return LanguageModel(model, make_tokenizer(), projector, image_token_id=IMAGE)


@pytest.fixture(scope="module")
def vision() -> SpexVision:
    torch.manual_seed(0)
    return SpexVision(TINY).eval()


@pytest.fixture
def runtime(vision, language) -> EmbeddedRuntime:
    return EmbeddedRuntime(vision, language)


def test_an_answer_about_an_image_becomes_a_mask(runtime, vision):
    scene = make_scene(90, 70)
    image_id = runtime.encode(scene)
    answer = runtime.generate(image_id, "Describe the water.", max_tokens=6)
    assert "".join(answer) == answer.text and answer.tokens <= 6
    clicks, boxes = [Point(3, 4), Point(5, 6, False)], [Box(1, 2, 30, 40)]
    logits = runtime.decode(image_id, answer.states_ref, points=clicks, boxes=boxes)
    states = runtime._states[answer.states_ref]
    points = [(3.0, 4.0, 1), (5.0, 6.0, 0), (1.0, 2.0, 2), (29.0, 39.0, 3)]
    np.testing.assert_allclose(logits, decode_scene(encode_scene(vision, scene), states, points), atol=1e-4)


def test_states_are_those_at_each_generated_token(language):
    answer = Answer()
    list(language.stream("Describe.", answer, max_tokens=5))
    ids = torch.tensor([language.tokenize("Describe.") + answer.token_ids])
    with torch.inference_mode():
        expected = language._model.get_decoder()(ids).last_hidden_state[0]
    states = answer.hidden_states()
    torch.testing.assert_close(states, expected[answer.prompt_tokens :][: len(states)], atol=1e-4, rtol=1e-4)
    assert len(states) == len(answer.token_ids) - (answer.finish_reason == "length")


def test_the_image_tokens_stand_first_and_only_once(language):
    ids = language.tokenize("See <image> and <|im_end|><image>.", num_image_tokens=4)
    assert ids.count(IMAGE) == 4 and ids.count(END) == 1
    assert IMAGE not in language.tokenize("See <image>.")


def test_what_the_image_shows_changes_what_is_said(language):
    said = []
    for seed in (1, 2):
        answer = Answer()
        tokens = torch.randn(4, TINY.vision_hidden_size, generator=torch.Generator().manual_seed(seed))
        list(language.stream("Describe.", answer, image_tokens=10 * tokens, max_tokens=8))
        said.append(answer.hidden_states())
    assert not torch.allclose(said[0][:1], said[1][:1])


def test_json_holds_to_its_schema_without_whitespace(runtime):
    for prompt in ("Plan.", "Anything else?", "1 2 3"):
        answer = runtime.generate(None, prompt, max_tokens=60, json_schema=SCHEMA)
        values = json.loads(answer.read())
        assert answer.text == json.dumps(values, separators=(",", ":"))
        assert list(values) == ["kind", "count"] and answer.finish_reason == "stop" and answer.states_ref == ""


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"properties": {"a": print}}])
def test_a_schema_that_cannot_be_used_is_refused(runtime, schema):
    with pytest.raises(BadRequest, match="schema"):
        runtime.generate(None, "Plan.", max_tokens=5, json_schema=schema).read()


def test_prompts_that_do_not_fit_are_refused(runtime):
    with pytest.raises(BadRequest, match="Shorten"):
        runtime.generate(None, "x" * 600, max_tokens=5).read()
    with pytest.raises(BadRequest, match="empty"):
        runtime.generate(None, "<image>", max_tokens=5).read()


def test_image_tokens_that_are_not_finite_are_refused(language):
    tokens = torch.full((4, TINY.vision_hidden_size), float("nan"))
    with pytest.raises(BadRequest, match="NaN"):
        list(language.stream("Describe.", Answer(), image_tokens=tokens, max_tokens=5))


def test_unknown_images_and_states_are_told_apart(runtime):
    with pytest.raises(UnknownImage):
        runtime.generate("none", "Describe.", max_tokens=5)
    with pytest.raises(UnknownStates):
        runtime.decode(runtime.encode(make_scene()), "none")
    runtime.close()
    with pytest.raises(UnknownImage):
        runtime.decode(make_scene().id, "none")


def test_answers_that_run_side_by_side_are_those_that_run_alone(runtime):
    image_id = runtime.encode(make_scene())
    prompts = [f"Describe number {number}." for number in range(4)]
    alone = [runtime.generate(image_id, prompt, max_tokens=12).read() for prompt in prompts]
    beside = [""] * 4

    def ask(index: int) -> None:
        beside[index] = runtime.generate(image_id, prompts[index], max_tokens=12).read()

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert beside == alone


SAID = np.random.default_rng(4).normal(size=(5, 20)).astype(np.float32)


class EncoderGate:
    """Counts the tiles that the vision side encodes; from `shut` on each waits to be let through."""

    def __init__(self) -> None:
        self.encoded = 0
        self.reached, self.open = threading.Event(), threading.Event()
        self.open.set()

    def __call__(self, *_: object) -> None:
        self.encoded += 1
        self.reached.set()
        self.open.wait(10)

    def shut(self) -> None:
        self.reached.clear()
        self.open.clear()


@pytest.fixture
def gate(vision):
    gate = EncoderGate()
    hook = vision.encoder.register_forward_pre_hook(gate)
    yield gate
    hook.remove()


def test_nobody_who_only_reads_or_writes_waits_for_a_mask(runtime, gate):
    scene = make_scene(90, 70)
    image_id, said = runtime.encode(scene), runtime.restore_states(SAID)
    gate.shut()
    with ThreadPoolExecutor() as threads:
        mask = threads.submit(runtime.decode, image_id, said)
        assert gate.reached.wait(10)
        try:
            asked = [
                threads.submit(lambda: runtime.generate(image_id, "Describe.", max_tokens=4).read()),
                threads.submit(runtime.read_states, said),
                threads.submit(runtime.restore_states, SAID + 1),
                threads.submit(runtime.encode, scene),
            ]
            assert all(answer.result(5) is not None for answer in asked)
        finally:
            gate.open.set()
        assert mask.result(10).shape == (90, 70)


def test_a_small_mask_is_painted_between_the_tiles_of_a_large_one(runtime, gate):
    large, small, said = make_scene(300, 300), make_scene(64, 64), runtime.restore_states(SAID)
    runtime.encode(large), runtime.encode(small)
    gate.shut()
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(runtime.decode, large.id, said)
        assert gate.reached.wait(10)
        quick = threads.submit(runtime.decode, small.id, said)
        before = gate.encoded
        gate.open.set()
        assert quick.result(10).shape == (64, 64)
        assert gate.encoded - before < 30  # of 36 tiles
        assert slow.result(10).shape == (300, 300)


def test_a_scene_of_many_tiles_is_encoded_once(runtime, gate):
    scene, said = make_scene(200, 200), runtime.restore_states(SAID)
    image_id = runtime.encode(scene)
    first, encoded = runtime.decode(image_id, said), gate.encoded
    assert encoded > 13
    np.testing.assert_array_equal(runtime.decode(image_id, said), first)
    assert gate.encoded == encoded


def test_tiles_live_on_disk_until_the_runtime_is_closed(vision, language, tmp_path):
    runtime = EmbeddedRuntime(vision, language, FeatureStore(tmp_path, memory_bytes=0, disk_bytes=1 << 20))
    runtime.decode(runtime.encode(make_scene()), runtime.restore_states(SAID))
    assert list(tmp_path.rglob("*.bin"))
    runtime.close()
    assert not list(tmp_path.rglob("*.bin"))


def test_where_nothing_can_be_written_tiles_are_kept_in_memory(tmp_path):
    (tmp_path / "file").touch()
    store = _open_store(tmp_path / "file" / "features")
    store.put("a", (torch.ones(3),))
    assert store.get("a") is not None


def test_a_checkpoint_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RuntimeUnavailable, match="can't be loaded"):
        EmbeddedRuntime.load(tmp_path)


def test_what_is_used_is_kept_and_the_rest_goes():
    recent: Recent[str] = Recent(6, cost=len)
    for name in ("a", "b", "c"):
        recent.put(name, "xx")
    assert recent.recall("a") == "xx"
    recent.put("d", "yyy")
    assert list(recent) == ["a", "d"] and recent.total == 5
    recent.put("e", "longer than all")
    assert list(recent) == ["e"]
