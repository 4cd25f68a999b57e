"""A GPU that isn't there: tensors that say `cuda:0` and keep their values on the CPU.

Each operation is held against CUDA's rules for tensors of several devices, and what the host waits for or copies is
noted with the line of the lab that asked for it:

    with PretendGPU() as gpu:
        TimeMoE(config).to("cuda:0")(x.to("cuda:0"))
    gpu.count("wait"), gpu.lines("wait")

It knows nothing of a GPU's rounding, speed, memory or streams. It needs g++ once (`guard.cpp`), and a PyTorch that has
no CUDA of its own.
"""

import contextlib
import ctypes
import hashlib
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from unittest import mock

import torch
import torch._dynamo  # noqa: F401 (an optimizer imports it: before anything is patched)
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

CUDA = torch.device("cuda:0")
LAB = "/timemoe_lab/"
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_consecutive", "bincount"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}  # take indices from the CPU, and wait for a mask
COPIES = {"_to_copy", "copy_"}


class WrongDevice(RuntimeError):
    "What CUDA refuses."


def ready():
    "Compiles what autograd asks of a device, once for each PyTorch, and loads it."
    source = Path(__file__).with_name("guard.cpp")
    home = Path(torch.__file__).parent
    key = hashlib.sha256(source.read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    made = Path(tempfile.gettempdir()) / f"pretend-gpu-{key}.so"
    if not made.exists():
        fresh = Path(tempfile.mkdtemp(dir=made.parent)) / made.name
        command = ["g++", "-std=c++20", "-fPIC", "-shared", str(source), "-o", str(fresh)]
        command += [f"-I{home / 'include'}", f"-L{home / 'lib'}", "-lc10", "-ltorch_cpu"]
        subprocess.run(command, check=True)
        fresh.replace(made)
        fresh.parent.rmdir()
    ctypes.CDLL(str(made), ctypes.RTLD_GLOBAL).say_that_cuda_is_present()


class OnGPU(torch.Tensor):
    "A tensor that says it is on cuda:0."

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        how = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, inner.size(), **how, device=CUDA)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return PretendGPU.now.run(func, args, kwargs or {})

    def numpy(self, *_, **__):
        raise WrongDevice("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def tolist(self):
        return self.cpu().tolist()

    def untyped_storage(self):  # safetensors looks whether two tensors share one
        return self.inner.untyped_storage()

    def data_ptr(self):
        return self.inner.data_ptr()


@cache
def is_composite(func):
    "Whether an operation is made of others."
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


def inner_of(x):
    "What is inside, with the CPU in the place of the device."
    if isinstance(x, OnGPU):
        return x.inner
    return torch.device("cpu") if isinstance(x, torch.device) and x.type == "cuda" else x


@contextlib.contextmanager
def in_place():
    "Modules swap what is inside their parameters, within the block."
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


class _Mode(TorchDispatchMode):
    "Sees what has no pretended tensor among its arguments, such as torch.zeros(device='cuda')."

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return PretendGPU.now.run(func, args, kwargs or {})


class PretendGPU:
    "The device, while the block runs, and what was asked of it."

    now = None

    def __init__(self, *, major=8, minor=6):
        self.capability = major, minor
        self.seen = []  # kind, what, line of the lab
        self.pinned = []  # begin and end of memory
        self.generators = {}  # of the device, by what is inside
        self._mode = _Mode()
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        PretendGPU.now = self
        for name, what in self._faces():
            self._stack.enter_context(mock.patch(name, what, create=True))
        self._stack.enter_context(self._mode)
        return self

    def __exit__(self, *error):
        self._stack.close()
        PretendGPU.now = None

    # What was seen

    def note(self, kind, what):
        frame = sys._getframe(1)
        while frame is not None and LAB not in frame.f_code.co_filename:
            frame = frame.f_back
        line = frame and f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
        self.seen.append((kind, what, line or "outside the lab"))

    def count(self, *kinds):
        return sum(kind in kinds for kind, _, _ in self.seen)

    def lines(self, *kinds):
        found = Counter(f"{kind}: {line}: {what}" for kind, what, line in self.seen if kind in kinds)
        return [f"{n} {text}" for text, n in found.most_common()]

    # One operation

    def run(self, func, args, kwargs):
        name = func._schema.name.removeprefix("aten::")
        flat, form = tree_flatten((args, kwargs))
        here = [x for x in flat if isinstance(x, OnGPU)]
        if not here and not any(isinstance(x, torch.device) and x.type == "cuda" for x in flat):
            return func(*args, **kwargs)
        if is_composite(func):
            with self._mode:  # what autograd takes apart, inference mode hands on whole
                return func.decompose(*args, **kwargs)
        if name in COPIES:
            return self._copy(func, name, args, kwargs)
        if name == "is_pinned":
            return False
        self._check(name, flat, args)
        given, named = tree_unflatten([inner_of(x) for x in flat], form)
        named = {k: None if k == "pin_memory" else v for k, v in named.items()}
        with _disable_current_modes():
            out = func(*given, **named)
        return self._wrap(func, out, args, kwargs, here)

    def _check(self, name, flat, args):
        "CUDA's rules: numbers may come from the CPU, indices are copied, anything else is refused."
        mask = name in INDEXING and any(
            isinstance(x, torch.Tensor) and x.dtype in (torch.bool, torch.uint8) for x in tree_flatten(args[1])[0]
        )
        if name in WAITS or mask:
            self.note("wait", f"{name}, masked" if mask else name)
        if name == "_grouped_mm" and self.capability < (9, 0):
            self.note("wait", f"{name}, which is a loop here")
        for x in flat:
            if isinstance(x, torch.Generator) and x._cdata not in self.generators:
                raise WrongDevice(f"{name}: a generator of the CPU for cuda:0")
            if not isinstance(x, torch.Tensor) or isinstance(x, OnGPU) or x.dim() == 0:
                continue
            if name in INDEXING and any(x is index for index in args[1]):
                self.note("to device", f"index {tuple(x.shape)}")
            else:
                raise WrongDevice(f"{name}: a tensor {tuple(x.shape)} of the CPU meets cuda:0")

    def _wrap(self, func, out, args, kwargs, here):
        "The result on the device; what was changed in place is returned as it came."
        schema = func._schema
        writes = lambda x: x.alias_info is not None and x.alias_info.is_write
        if schema.returns and all(writes(r) for r in schema.returns):
            named = dict(zip((a.name for a in schema.arguments), args)) | kwargs
            changed = [named[a.name] for a in schema.arguments if writes(a) and a.name in named]
            return changed[0] if len(schema.returns) == 1 else tuple(changed)
        if not schema.returns or schema.name == "aten::_local_scalar_dense":
            return out
        views = any(r.alias_info is not None for r in schema.returns)
        plain = views and torch.is_inference_mode_enabled() and not all(x.is_inference() for x in here)
        with torch.inference_mode(False) if plain else contextlib.nullcontext():  # a view is of its tensor's kind
            return tree_map(lambda x: OnGPU(x) if isinstance(x, torch.Tensor) else x, out)

    def _copy(self, func, name, args, kwargs):
        "Between host and device, or on the device."
        source = args[0] if name == "_to_copy" else args[1]
        target = torch.device(kwargs.get("device") or source.device) if name == "_to_copy" else args[0].device
        if source.device.type != target.type and source.numel() > 1:
            what = f"{tuple(source.shape)} {source.dtype}"
            if target.type == "cpu":
                self.note("to host", what)
            else:
                begin = source.data_ptr()
                pinned = any(a <= begin < b for a, b in self.pinned)
                self.note("to device, pinned" if pinned and kwargs.get("non_blocking") else "to device", what)
        elif source.device.type != target.type:
            self.note("to host" if target.type == "cpu" else "number", "a number")
        left_out = ("device", "non_blocking", "pin_memory")
        named = {k: v for k, v in kwargs.items() if k not in left_out}
        with _disable_current_modes():
            out = func(*map(inner_of, args), **named)
            if name == "_to_copy" and out is inner_of(source):
                out = out.clone()
        if name == "copy_":
            return args[0]
        return OnGPU(out) if target.type == "cuda" else out

    # What Python sees of a GPU

    def _faces(self):
        gpu = self
        state = torch.zeros(16, dtype=torch.uint8)
        attend, tensor, generator = torch.nn.functional.scaled_dot_product_attention, torch.tensor, torch.Generator
        move = torch.nn.Module._apply
        nothing = lambda *_, **__: None
        within = contextlib.nullcontext

        class Kind(type):
            def __instancecheck__(cls, x):
                return isinstance(x, generator)

        class Generator(metaclass=Kind):
            def __new__(cls, device="cpu"):
                made = generator()
                if torch.device(device).type == "cuda":
                    gpu.generators[made._cdata] = made
                return made

        class Properties:
            name = "a pretended RTX 3090"
            major, minor = gpu.capability
            total_memory = 24 * 2**30
            multi_processor_count = 82

        def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
            if not isinstance(q, OnGPU):
                return attend(q, k, v, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
            for x in (k, v, attn_mask):
                if x is not None and not isinstance(x, OnGPU):
                    raise WrongDevice(f"attention: a tensor {tuple(x.shape)} of the CPU meets cuda:0")
            if torch.is_autocast_enabled("cuda"):
                q, k, v = (x.to(torch.get_autocast_dtype("cuda")) for x in (q, k, v))
            return _Attention.apply(q, k, v, attn_mask, is_causal, enable_gqa, attend)

        def make(*given, device=None, **how):
            made = tensor(*given, **how)
            return made if device is None else made.to(device)

        def moved(module, *given, **how):
            with in_place():  # a parameter that moves stays the same object, as it does on a GPU
                return move(module, *given, **how)

        def pin(x):
            with _disable_current_modes():
                made = x.clone()
            gpu.pinned.append((made.data_ptr(), made.data_ptr() + made.nbytes))
            return made

        faces = {
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "_is_in_bad_fork": lambda: False,
            "_lazy_init": nothing,
            "init": nothing,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "set_device": nothing,
            "device": lambda *_: within(),
            "synchronize": lambda *_: gpu.note("wait", "synchronize"),
            "empty_cache": nothing,
            "get_device_name": lambda *_: Properties.name,
            "get_device_properties": lambda *_: Properties,
            "get_device_capability": lambda *_: gpu.capability,
            "is_bf16_supported": lambda including_emulation=True: True,
            "mem_get_info": lambda *_: (23 * 2**30, 24 * 2**30),
            "memory_allocated": lambda *_: 0,
            "max_memory_allocated": lambda *_: 0,
            "reset_peak_memory_stats": nothing,
            "get_rng_state": lambda *_: state.clone(),
            "get_rng_state_all": lambda: [state.clone()],
            "set_rng_state": lambda new, *_: state.copy_(new),
            "manual_seed": nothing,
            "manual_seed_all": nothing,
        }
        yield from ((f"torch.cuda.{name}", what) for name, what in faces.items())
        yield "torch.nn.functional.scaled_dot_product_attention", attention
        yield "torch.nn.Module._apply", moved
        yield "torch.tensor", make
        yield "torch.Tensor.pin_memory", pin
        yield "torch.Generator", Generator


class _Attention(torch.autograd.Function):
    "Attention as the CPU computes it, on what is inside."

    @staticmethod
    def forward(ctx, q, k, v, mask, causal, grouped, attend):
        ctx.save_for_backward(q, k, v, mask)
        ctx.how = {"is_causal": causal, "enable_gqa": grouped}
        ctx.attend = attend
        with _disable_current_modes():
            return OnGPU(attend(*map(inner_of, (q, k, v)), attn_mask=inner_of(mask), **ctx.how))

    @staticmethod
    def backward(ctx, grad):
        *parts, mask = map(inner_of, ctx.saved_tensors)
        with _disable_current_modes(), torch.enable_grad():
            parts = [x.detach().requires_grad_() for x in parts]
            out = ctx.attend(*parts, attn_mask=mask, **ctx.how)
            grads = torch.autograd.grad(out, parts, inner_of(grad))
        return (*map(OnGPU, grads), None, None, None, None)
