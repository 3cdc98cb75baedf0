# Every target is one line over tools/bootstrap.py, which makes .venv by itself and works without make as well:
#   python3 tools/bootstrap.py cluster --json
PYTHON ?= python3
ARGS ?=

.PHONY: help install cluster test test-zookeeper check bench bench-ring bench-growth bench-sessions bench-kinds soak drill drill-zookeeper ci-short
help:
	@$(PYTHON) tools/bootstrap.py --help
install:
	@$(PYTHON) tools/bootstrap.py install -- $(ARGS)
cluster:
	@$(PYTHON) tools/bootstrap.py cluster -- $(ARGS)
test:
	@$(PYTHON) tools/bootstrap.py test -- $(ARGS)
test-zookeeper:
	@$(PYTHON) tools/bootstrap.py test-zookeeper -- $(ARGS)
check:
	@$(PYTHON) tools/bootstrap.py check -- $(ARGS)
bench:
	@$(PYTHON) tools/bootstrap.py bench -- $(ARGS)
bench-ring:
	@$(PYTHON) tools/bootstrap.py bench-ring -- $(ARGS)
bench-growth:
	@$(PYTHON) tools/bootstrap.py bench-growth -- $(ARGS)
bench-sessions:
	@$(PYTHON) tools/bootstrap.py bench-sessions -- $(ARGS)
bench-kinds:
	@$(PYTHON) tools/bootstrap.py bench-kinds -- $(ARGS)
soak:
	@$(PYTHON) tools/bootstrap.py soak -- $(ARGS)
drill:
	@$(PYTHON) tools/bootstrap.py drill -- $(ARGS)
drill-zookeeper:
	@$(PYTHON) tools/bootstrap.py drill-zookeeper -- $(ARGS)
ci-short:
	@$(PYTHON) tools/bootstrap.py ci-short -- $(ARGS)
