"""tensorflow-datasets builders; they write array_record, without TensorFlow."""
