import django.db.models.manager
from django.db import migrations, models

import accounts.trail
from accounts import guards


def place_guards(apps, schema_editor):
    guards.place(schema_editor.connection)


def lift_guards(apps, schema_editor):
    guards.lift(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_cache_table'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('number', models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField(db_index=True)),
                ('who', models.CharField(blank=True, max_length=150)),
                ('door', models.CharField(choices=[('page', 'page'), ('api', 'API'), ('command', 'command'), ('panel', 'panel')], max_length=8)),
                ('address', models.CharField(blank=True, max_length=64)),
                ('token', models.CharField(blank=True, max_length=100)),
                ('action', models.CharField(db_index=True, max_length=60)),
                ('target', models.CharField(blank=True, max_length=300)),
                ('cluster', models.CharField(blank=True, db_index=True, max_length=39)),
                ('plan_hash', models.CharField(blank=True, max_length=64)),
                ('result', models.CharField(blank=True, max_length=300)),
                ('detail', models.JSONField(default=dict)),
                ('previous', models.CharField(max_length=64)),
                ('hash', models.CharField(max_length=64, unique=True)),
            ],
            options={
                'ordering': ['-number'],
            },
        ),
        migrations.CreateModel(
            name='AuditHead',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveBigIntegerField(default=0)),
                ('hash', models.CharField(default=accounts.trail.GENESIS, max_length=64)),
                ('verified_at', models.DateTimeField(null=True)),
                ('verified_count', models.PositiveBigIntegerField(default=0)),
                ('finding', models.TextField(blank=True)),
            ],
        ),
        migrations.RunPython(place_guards, lift_guards),
    ]
