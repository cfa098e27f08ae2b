# The images of docker-compose.yml. `python:3.13-slim` is named by its tag: pin it by digest where you deploy from it.

FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONUTF8=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /app
RUN useradd --create-home --uid 10001 jobchain

# --- The libraries of the local stack and the tests, with their hashes -----------------------------------------------

FROM base AS libraries
COPY requirements/dev.txt requirements/
RUN python -m venv .venv && .venv/bin/pip install --quiet --require-hashes --no-deps --only-binary :all: -r requirements/dev.txt

# --- The embedded stack, and the offline model -----------------------------------------------------------------------

FROM base AS stack
COPY --from=libraries /app/.venv .venv
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app:/app/cli:/app/functions/worker:/app/layers/common
COPY template.yaml pyproject.toml ./
COPY layers layers
COPY functions functions
COPY cli cli
COPY local local
RUN install -d -o jobchain .local
USER jobchain
CMD ["python", "-m", "local", "dev"]

# --- What `sam build` makes, by SAM itself ---------------------------------------------------------------------------

FROM base AS build
COPY requirements/sam.txt .
RUN python -m venv /sam && /sam/bin/pip install --quiet --require-hashes --no-deps -r sam.txt
COPY template.yaml ./
COPY layers layers
COPY functions functions
RUN SAM_CLI_TELEMETRY=0 /sam/bin/sam build --parameter-overrides \
      "Architecture=$(case "$(uname -m)" in aarch64 | arm64) echo arm64 ;; *) echo x86_64 ;; esac)"
COPY pyproject.toml ./
COPY local/__init__.py local/architecture.py local/botocore_data.py local/chain_check.py local/chain_list.py \
    local/chain_packages.py local/errors.py local/finish_build.py local/
RUN PYTHONPATH=/app/.aws-sam/build/CommonLayer/python python -m local.finish_build .aws-sam/build python

# --- What deploys to LocalStack --------------------------------------------------------------------------------------

FROM stack AS deploy
COPY --from=build /app/.aws-sam .aws-sam
CMD ["python", "-m", "local", "deploy", "--build", ".aws-sam/build"]

# --- The tests -------------------------------------------------------------------------------------------------------

FROM base AS tests
COPY --from=libraries /app/.venv .venv
RUN apt-get -qq update && apt-get -qq install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
COPY --chown=jobchain . .
RUN .venv/bin/pip install --quiet --no-deps --no-build-isolation --editable . && chown jobchain .
ENV PATH=/app/.venv/bin:$PATH
USER jobchain
# No browser is in here.
CMD ["pytest", "-m", "not faults and not targets", "--ignore=tests/browser", "--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
