"""What travels and who may say it: ids, topics, messages, roles and policy. Pure: no input or output."""
