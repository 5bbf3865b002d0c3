# One image for all roles: `docker run mpcinfer serve ...`, `dealer ...`, `generate ...`.
FROM python:3.11-slim-bookworm

# Where torch comes from, for the smaller CPU build (README, "Installing"); empty: the default index.
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# A role's keys are mounted on /keys; docker-compose.yml makes them under /new. A new volume takes over the
# owner of the folder it is mounted on, which must be empty in the image.
RUN useradd --system --uid 10001 --create-home mpcinfer \
 && install -d -o mpcinfer -m 700 /keys /new/server /new/client /new/dealer

# The dependencies first: they change less often than the sources, and weigh more.
WORKDIR /src
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > /tmp/requirements.txt \
 && if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' /tmp/requirements.txt)"; fi \
 && pip install -r /tmp/requirements.txt \
 && pip install --no-deps crypten==0.4.1 \
 && rm /tmp/requirements.txt

COPY README.md LICENSE ./
COPY parties ./parties
COPY protocols ./protocols
COPY mpcinfer ./mpcinfer
RUN pip install --no-deps .

# Kernels are compiled now, for the processor that builds; another kind compiles its own in every container.
ENV MPCINFER_CACHE_DIR=/opt/mpcinfer
RUN mpcinfer warm && chmod -R go+rX /opt/mpcinfer

USER mpcinfer
WORKDIR /home/mpcinfer
ENTRYPOINT ["mpcinfer"]
CMD ["--help"]
