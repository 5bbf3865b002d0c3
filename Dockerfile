# One image for all roles: `docker run mpcinfer serve ...`, `dealer ...`, `generate ...`.
#
# Two stages: the first installs, leaves out what a run on a CPU does not need and compiles kernels; the second
# has the result alone, without compilers, pip caches or package lists.
FROM python:3.11-slim-bookworm AS build

# Where torch comes from, for the smaller CPU build (README, "Installing"); empty: the default index.
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    PIP_PYTHON=/opt/venv/bin/python

RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils \
 && python -m venv --without-pip /opt/venv

# The dependencies first: they change less often than the sources, and weigh more.
WORKDIR /src
COPY pyproject.toml ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = project['optional-dependencies']; \
print(*project['dependencies'], *extras['proxy'], sep='\n')" > /tmp/requirements.txt \
 && if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' /tmp/requirements.txt)"; fi \
 && pip install -r /tmp/requirements.txt \
 && pip install --no-deps crypten==0.4.1

# What no command runs: tests of libraries, headers, test programs, symbols for debuggers, bytecode that is made
# again below, and the client of a model hub, which tokenizers names and nothing here loads.
RUN pip uninstall -y -q huggingface-hub hf-xet && cd /opt/venv/lib/python3.11/site-packages \
 && find torch/bin -type f ! -name torch_shm_manager -delete \
 && rm -rf torch/include torch/share torch/test \
      torch/lib/libtorchbind_test.so torch/lib/libjitbackend_test.so \
      torch/lib/libbackend_with_compiler.so torch/lib/libaoti_custom_ops.so \
 && find numba numpy sympy networkx mpmath -type d -name tests -prune -exec rm -rf {} + \
 && find . -type d -name __pycache__ -prune -exec rm -rf {} + \
 && find . -type f \( -name '*.pyi' -o -name '*.a' -o -name '*.pxd' \) -delete \
 && strip --strip-unneeded torch/lib/libtorch_cpu.so torch/lib/libtorch_python.so llvmlite/binding/libllvmlite.so

COPY README.md LICENSE ./
COPY parties ./parties
COPY protocols ./protocols
COPY mpcinfer ./mpcinfer
RUN pip install --no-deps --no-compile .

# Kernels are compiled now, for the processor that builds; another kind compiles its own in every container.
# Bytecode is kept of what a private run imports, for quick starts from a read-only root: of the rest it would
# weigh more than the code.
ENV MPCINFER_CACHE_DIR=/opt/mpcinfer PATH=/opt/venv/bin:$PATH
RUN mpcinfer warm
RUN mpcinfer generate "x" --local private --tokens 1 && chmod -R go+rX /opt/mpcinfer


FROM python:3.11-slim-bookworm

# A role's keys are mounted on /keys; docker-compose.yml makes them under /new. A new volume takes over the
# owner of the folder it is mounted on, which must be empty in the image.
RUN useradd --system --uid 10001 --create-home mpcinfer \
 && install -d -o mpcinfer -m 700 /keys \
      /new/server /new/dealer /new/client /new/client-1 /new/client-2 /new/client-3

COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/mpcinfer /opt/mpcinfer
ENV PATH=/opt/venv/bin:$PATH MPCINFER_CACHE_DIR=/opt/mpcinfer PYTHONDONTWRITEBYTECODE=1

# A number, so that an orchestrator sees that it is not root.
USER 10001
WORKDIR /home/mpcinfer

# Of a server, a dealer or a proxy: whether it serves (docs/operations.md). Clients end by themselves.
HEALTHCHECK --interval=5s --timeout=10s --start-period=600s --retries=5 CMD ["mpcinfer", "status"]
ENTRYPOINT ["mpcinfer"]
CMD ["--help"]
