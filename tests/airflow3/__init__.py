"""jobs/airflow_dag.py on a real Airflow."""
