#!/bin/bash
# As in LocalStack's image: a variable LOCALSTACK_NAME counts as NAME, too.
while IFS='=' read -r variable _; do
    case $variable in
        LOCALSTACK_HOST*) ;;
        LOCALSTACK_[A-Z]*) export "${variable#LOCALSTACK_}=${!variable}" ;;
    esac
done < <(env)
mkdir -p /var/lib/localstack/logs
exec localstack-supervisor
