"""Which process this is: by setting, by SLURM, by Kubernetes' variables."""

import pytest

from edtn_jax.config import ConfigError
from launch import processes
from launch.processes import ClusterError, Place, find_place

SLURM = {
  'SLURM_JOB_ID': '4711',
  'SLURM_STEP_NODELIST': 'gpu[007-009],gpu12',
  'SLURM_NTASKS': '32',
  'SLURM_PROCID': '9',
  'SLURM_LOCALID': '1',
}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
  for name in (*SLURM, 'EDTN_PROCESSES', 'KUBERNETES_SERVICE_HOST'):
    monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch, variables):
  for name, value in variables.items():
    monkeypatch.setenv(name, value)


def test_a_process_of_its_own():
  assert find_place() is None


def test_a_setting_or_its_variable(monkeypatch):
  wanted = Place('10.0.0.1:1234', 8, 3, False, 300)
  assert find_place('10.0.0.1:1234,8,3') == wanted
  monkeypatch.setenv('EDTN_PROCESSES', '10.0.0.1:1234,8,3')
  assert find_place() == wanted
  with pytest.raises(ConfigError, match='must be 0 to 7'):
    find_place('10.0.0.1:1234,8,8')


def test_slurm_is_asked(monkeypatch):
  set_all(monkeypatch, SLURM)
  place = find_place('auto')
  # JAX: 61440 + job id modulo 4096, on the first node.
  assert place == Place(f'gpu007:{61440 + 4711 % 4096}', 32, 9, True, 300)
  monkeypatch.setenv('JAX_LOCAL_DEVICE_IDS', '0,1')
  assert not find_place('auto').one_device


def test_a_slurm_job_that_was_not_started_by_srun(monkeypatch):
  set_all(monkeypatch, {**SLURM})
  monkeypatch.delenv('SLURM_STEP_NODELIST')
  with pytest.raises(ClusterError, match='by srun'):
    find_place('auto')


def test_nothing_is_found_off_a_cluster():
  with pytest.raises(ClusterError, match='--processes=HOST:PORT'):
    processes.find_place('auto,join=5')
